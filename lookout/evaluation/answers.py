"""What the evaluations found, as JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lookout.evaluation import identification, pairs
from lookout.evaluation.identification import FPIRS, Outcome, Rate
from lookout.evaluation.pairs import FARS, PairsOutcome
from lookout.evaluation.pictures import Pictures
from lookout.evaluation.protocols import Pair
from lookout.evaluation.provenance import Provenance
from lookout.faces.calibration import Calibration
from lookout.faces.enrolment import refusals

ROC_POINTS = 300


def of_pairs(
    folds: Sequence[Sequence[Pair]], outcome: PairsOutcome, groups: Mapping[str, str], provenance: Provenance
) -> dict[str, Any]:
    """An evaluation of pairs as JSON; rates are fractions."""
    edges, mated, non_mated = pairs.histogram(outcome)
    shown = np.unique(np.linspace(0, len(outcome.curve.far) - 1, ROC_POINTS).astype(int))
    return {
        "kind": "pairs",
        "pairs": len(outcome.scores),
        "accuracy": outcome.accuracy,
        "accuracy_se": outcome.accuracy_se,
        "auc": outcome.curve.auc,
        "eer": outcome.curve.eer,
        "tar_at_far": {_power(far): outcome.curve.tar_at(far) for far in FARS},
        "failures": len(outcome.failures),
        "failed_pictures": dict(outcome.failures),
        "folds": [asdict(fold) for fold in outcome.folds],
        "histogram": {"edges": edges, "mated": mated, "non_mated": non_mated},
        "roc": [[float(outcome.curve.far[k]), float(outcome.curve.tar[k])] for k in shown],
        "groups": [asdict(one) for one in pairs.by_group(folds, outcome, groups)] if groups else [],
        **provenance.as_json(),
    }


def of_identification(
    outcome: Outcome,
    pictures: Pictures,
    stated: Mapping[str, tuple[int, Calibration]],
    groups: Mapping[str, str],
    provenance: Provenance,
) -> dict[str, Any]:
    """An evaluation of identification as JSON; rates are fractions.

    Args:
        outcome: of all searches.
        pictures: as they were embedded.
        stated: tier -> of how many strangers one may be reported, and the calibration that gives the threshold.
        groups: identity -> group.
        provenance: what was measured with.
    """
    size = len(outcome.gallery)
    points = {fpir: identification.at_fpir(outcome, fpir) for fpir in FPIRS}
    tiers = {}
    for tier, (strangers, calibration) in stated.items():
        point = identification.at_threshold(outcome, calibration.threshold(1 / strangers, size))
        tiers[tier] = {"strangers": strangers, "threshold": point.threshold, **_rates(point.fpir, point.fnir)}
    middle = points[0.01]
    return {
        "kind": "identification",
        "gallery_size": size,
        "not_enrolled": list(outcome.not_enrolled),
        "known_probes": len(outcome.known),
        "unknown_probes": len(outcome.unknown),
        "rank1": float(np.mean(outcome.first)),
        "fnir_at_fpir": {
            f"{fpir:g}": {
                "fnir": point.fnir.value,
                "low": point.fnir.low,
                "high": point.fnir.high,
                "threshold": point.threshold,
            }
            for fpir, point in points.items()
        },
        "tiers": tiers,
        "det": [{"threshold": t, "fpir": fpir, "fnir": fnir} for t, fpir, fnir in identification.det(outcome)],
        "failures": len(outcome.failures),
        "failed_pictures": dict(outcome.failures),
        "below_gates": sum(bool(refusals(face.quality, face.width_px)) for face in pictures.faces.values()),
        "groups": [
            {
                "name": one.name,
                "known": one.known,
                "unknown": one.unknown,
                "small": one.small,
                **_rates(one.point.fpir, one.point.fnir),
            }
            for one in identification.by_group(outcome, groups, middle.threshold)
        ]
        if groups
        else [],
        **provenance.as_json(),
    }


def pairs_in_words(answer: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    tar = ", ".join(f"{rate:.1%} at {far}" for far, rate in answer["tar_at_far"].items())
    return [
        f"{answer['pairs']} pairs: {answer['accuracy']:.2%} told rightly (standard error {answer['accuracy_se']:.2%})",
        f"area under the curve {answer['auc']:.5f}, equal error rate {answer['eer']:.2%}",
        f"of pairs of one person matched, by the share of strangers' pairs that match: {tar}",
        f"pictures without a face, whose pairs count as wrong: {answer['failures']}",
    ]


def identification_in_words(answer: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    lines = [
        f"{answer['gallery_size']} people listed; {answer['known_probes']} passes of theirs, "
        f"{answer['unknown_probes']} of strangers. The right one is the best candidate in {answer['rank1']:.1%}.",
    ]
    for fpir, one in answer["fnir_at_fpir"].items():
        lines.append(
            f"of 1,000 strangers {float(fpir) * 1000:.0f} reported: {one['fnir']:.1%} of listed people missed "
            f"({one['low']:.1%} to {one['high']:.1%}), threshold {one['threshold']:.4f}"
        )
    for tier, one in answer["tiers"].items():
        fpir, fnir = one["fpir"], one["fnir"]
        lines.append(
            f"{tier}, stated as 1 of {one['strangers']:,} strangers: {fpir['value']:.2%} reported here "
            f"({fpir['low']:.2%} to {fpir['high']:.2%}), {fnir['value']:.1%} of listed people missed, "
            f"threshold {one['threshold']:.4f}"
        )
    lines.append(
        f"pictures without a face: {answer['failures']}; faces below the gates of enrolment, counted all the same: "
        f"{answer['below_gates']}"
    )
    return lines


def _rates(fpir: Rate, fnir: Rate) -> dict[str, Any]:
    return {"fpir": asdict(fpir), "fnir": asdict(fnir)}


def _power(rate: float) -> str:
    return f"{rate:.0e}".replace("e-0", "e-")
