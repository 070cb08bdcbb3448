"""What the evaluations found, in words for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookout.evaluation.rounding import range_of, rate, value_of


def of_pairs(answer: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    tar = ", ".join(f"{rate:.1%} at {far}" for far, rate in answer["tar_at_far"].items())
    return [
        f"{answer['pairs']} pairs: {answer['accuracy']:.2%} told rightly (standard error {answer['accuracy_se']:.2%})",
        f"area under the curve {answer['auc']:.5f}, equal error rate {answer['eer']:.2%}",
        f"of pairs of one person matched, by the share of strangers' pairs that match: {tar}",
        f"pictures without a face, whose pairs count as wrong: {answer['failures']}",
    ]


def of_identification(answer: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    lines = [
        f"{answer['gallery_size']} people listed; {answer['known_probes']} passes of theirs, "
        f"{answer['unknown_probes']} of strangers. The right one is the best candidate in {answer['rank1']:.1%}.",
    ]
    for fpir, one in answer["fnir_at_fpir"].items():
        lines.append(
            f"of 1,000 strangers {float(fpir) * 1000:.0f} reported: "
            f"{_told({**one, 'value': one['fnir']}, answer['known_probes'])} of listed people missed, "
            f"threshold {one['threshold']:.4f}"
        )
    for tier, one in answer["tiers"].items():
        lines.append(
            f"{tier}, stated as 1 of {one['strangers']:,} strangers: {_told(one['fpir'], answer['unknown_probes'])} "
            f"reported here, {_told(one['fnir'], answer['known_probes'])} of listed people missed, "
            f"threshold {one['threshold']:.4f}"
        )
    lines.append(
        f"pictures without a face: {answer['failures']}; faces below the gates of enrolment, counted all the same: "
        f"{answer['below_gates']}"
    )
    return lines


def of_video(answer: Mapping[str, Any]) -> list[str]:
    """For the terminal."""
    missed, false, waited = answer["missed_rate"], answer["false_per_camera_day"], answer["time_to_alert_s"]
    lines = [
        f"{answer['people']} people listed; {answer['episodes']} episodes of theirs on {len(answer['cameras'])} "
        f"cameras: {answer['missed']} missed, {missed['value']:.1%} ({missed['low']:.1%} to {missed['high']:.1%})",
        f"false alerts in {answer['hours']:.2f} hours: {answer['false']}, {_figure(false['value'])} a camera and day "
        f"({_figure(false['low'])} to {_figure(false['high'])})",
    ]
    if waited is not None:
        lines.append(
            f"from appearance to the first matched picture, in recorded time: median {waited['median']:.1f} s, "
            f"95 % within {waited['p95']:.1f} s, all within {waited['longest']:.1f} s"
        )
    for tier, one in answer["tiers"].items():
        lines.append(
            f"{tier}, stated as 1 of {one['strangers']:,} strangers: {one['found']} right alerts, {one['false']} false"
        )
    lines += [
        f"missed: {one['identity']} on {one['camera']}, {one['start_s']:g} to {one['end_s']:g} s"
        for one in answer["episode_list"]
        if not one["found"]
    ]
    lines += [
        f"false: {one['identity']} on {one['camera']} at {one['at_s']:g} s, {one['tier']}"
        for one in answer["false_list"]
    ]
    if answer["not_listed"]:
        lines.append(f"strangers, as they are on no watchlist: {', '.join(answer['not_listed'])}")
    return [*lines, *answer["remarks"]]


def _told(measured: Mapping[str, float], of: int) -> str:
    """A rate with its 95 % range."""
    found = rate(measured, of)
    return f"{value_of(found)} ({range_of(found)})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
