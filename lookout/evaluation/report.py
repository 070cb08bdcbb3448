"""The report of an evaluation: one HTML page for people who know no statistics.

It needs no other file, runs no script, and prints well. Its words stand in the templates beside this file, one for each
kind of evaluation, which fill in `report.html`; what they need beyond the answer is worked out here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lookout.errors import BadInputError
from lookout.evaluation import charts
from lookout.evaluation.identification import SMALL_GROUP
from lookout.evaluation.rounding import Share, counted, natural, percent, range_of, rate, value_of

#: Of a longer list the page shows so many, and says how many more there are; `--json` has all.
LISTED = 50
#: Groups that the chart shows; the table has all.
CHARTED_GROUPS = 30
NO_GROUP = "no group given"
#: What is expected less often than this may well never happen: exp(-3) is 5 %.
EXPECTED = 3


def write(answer: Mapping[str, Any], file: Path) -> None:
    """Write an answer of an evaluation, as `--json` prints it, as a page.

    The file gets its name when it is whole, in place of one that had it.

    Raises:
        BadInputError: it cannot be written.
    """
    page = _page(answer)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        # Names of files may hold what is no text.
        part.write_text(page, encoding="utf-8", errors="replace")
        part.replace(file)
    except OSError as error:
        raise BadInputError(f"{file}: the report cannot be written: {error.strerror}. Name another file.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _page(answer: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"natural": natural, "value": value_of, "range": range_of}
    environment.filters |= {"many": _many, "about": _about, "clock": _clock, "score": _score}
    prepare = {"identification": _identification, "pairs": _pairs, "video": _video}[answer["kind"]]
    template = environment.get_template(f"{answer['kind']}.html")
    return template.render(answer=answer, listed=LISTED, small_group=SMALL_GROUP, **prepare(answer))


def _identification(answer: Mapping[str, Any]) -> dict[str, Any]:
    known, unknown = answer["known_probes"], answer["unknown_probes"]
    points = [
        {
            "fpir": float(fpir),
            "missed": rate({**one, "value": one["fnir"]}, known),
            "threshold": one["threshold"],
            "too_few": float(fpir) * unknown < 1,
        }
        for fpir, one in answer["fnir_at_fpir"].items()
    ]
    tiers = []
    for name, one in answer["tiers"].items():
        reported, missed = rate(one["fpir"], unknown), rate(one["fnir"], known)
        against = _against(1 / one["strangers"], reported)
        tiers.append({**one, "name": name, "reported": reported, "missed": missed, "against": against})
    groups = [
        {
            **one,
            "name": one["name"] or NO_GROUP,
            "first": rate(one["fnir"], one["known"]),
            "second": rate(one["fpir"], one["unknown"]),
            "counts": (one["known"], one["unknown"]),
        }
        for one in answer["groups"]
    ]
    return {
        "points": points,
        "passes": max(natural(one["missed"])[0] for one in points),
        "tiers": tiers,
        "chart": charts.det(answer, [(one["fpir"], one["missed"]) for one in points]),
        **_groups(groups, ("listed people missed", "strangers reported")),
    }


def _pairs(answer: Mapping[str, Any]) -> dict[str, Any]:
    each = answer["pairs"] // 2  # lists of pairs have as many of one person as of two
    accuracy, error = answer["accuracy"], answer["accuracy_se"]
    thresholds = [fold["threshold"] for fold in answer["folds"]]
    groups = [
        {
            **one,
            "name": one["name"] or NO_GROUP,
            "first": counted(one["fnmr"], one["mated"]) if one["mated"] else None,
            "second": counted(one["fmr"], one["non_mated"]) if one["non_mated"] else None,
            "small": min(one["mated"], one["non_mated"]) < SMALL_GROUP,
            "counts": (one["mated"], one["non_mated"]),
        }
        for one in answer["groups"]
    ]
    return {
        "each": each,
        "right": counted(accuracy, answer["pairs"]),
        # Folds that are all alike tell no error.
        "accuracy": f"{percent(accuracy, error)} ± {percent(error, error)}" if error else None,
        "eer": counted(answer["eer"], each),
        "folds": [{**fold, "right": counted(fold["accuracy"], fold["pairs"])} for fold in answer["folds"]],
        "matching": [
            {"one_in": round(1 / float(far)), "share": counted(tar, each), "too_few": float(far) * each < 1}
            for far, tar in answer["tar_at_far"].items()
        ],
        "roc": charts.roc(answer["roc"], each),
        "histogram": charts.histogram(answer["histogram"], sum(thresholds) / len(thresholds)),
        **_groups(groups, ("one person, no match", "two people, match")),
    }


def _video(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"missed": rate(answer["missed_rate"], answer["episodes"]), "watched": _duration(answer["hours"] * 3600)}


def _groups(groups: Sequence[Mapping[str, Any]], titles: tuple[str, str]) -> dict[str, Any]:
    """A table of groups, and a chart of the largest: of two rates, `first` and `second`, of `counts` cases."""
    largest = sorted(range(len(groups)), key=lambda place: -sum(groups[place]["counts"]))[:CHARTED_GROUPS]
    charted = [groups[place] for place in sorted(largest)]
    rows = [(one["name"], one["small"], one["first"], one["second"]) for one in charted]
    return {
        "groups": groups,
        "charted": len(rows),
        "groups_chart": charts.groups(rows, titles) if rows else None,
    }


def _against(stated: float, measured: Share) -> str:
    """What a measured rate says of the one that was stated, by a binomial test at 5 %."""
    from scipy.stats import binomtest

    if binomtest(round(measured.value * measured.of), measured.of, stated).pvalue < 0.05:
        return "more than stated" if measured.value > stated else "fewer than stated"
    return "agrees" if stated * measured.of >= EXPECTED else "too few strangers to tell"


def _many(count: int, one: str, more: str = "") -> str:
    """`1 pass`, `1,200 passes`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _about(value: float) -> str:
    """A figure with two digits: `1,200`, `340`, `1.2`."""
    return f"{float(f'{value:.2g}'):,.10g}"


def _score(value: float) -> str:
    """A threshold; where hardly anybody has a score at all it lies below all cosines."""
    return f"{max(-1.0, value):.4f}"


def _clock(seconds: float) -> str:
    """A place in a video: `1:02:03.4`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _duration(seconds: float) -> str:
    """`45 seconds`, `13 minutes`, `4.5 hours`, `12 days`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{_about(seconds / length)} {unit}s"
    return f"{_about(seconds)} seconds"
