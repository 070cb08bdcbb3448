"""What the evaluations found, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lookout.evaluation import identification, pairs, video
from lookout.evaluation.findings import Findings, Watched
from lookout.evaluation.identification import FPIRS, Outcome, Rate
from lookout.evaluation.pairs import FARS, PairsOutcome
from lookout.evaluation.pictures import Pictures
from lookout.evaluation.protocols import Pair
from lookout.evaluation.provenance import Provenance
from lookout.evaluation.rounding import counted
from lookout.evaluation.video import Episode, per_day
from lookout.faces.calibration import Calibration
from lookout.faces.enrolment import refusals

ROC_POINTS = 300
DAY_S = 86_400


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


def of_video(
    findings: Findings,
    outcome: video.Outcome,
    not_listed: Sequence[str],
    provenance: Provenance,
) -> dict[str, Any]:
    """An evaluation of recordings as JSON; rates are fractions, those of false alerts a camera and day."""
    episodes, days = outcome.episodes, sum(one.seconds for one in findings.cameras) / DAY_S
    found = [one for one in episodes if one.tier is not None]
    missed = len(episodes) - len(found)
    rate = counted(missed / len(episodes), len(episodes))
    waited = [one.time_to_alert_s for one in found if one.time_to_alert_s is not None]
    return {
        "kind": "video",
        "people": len(findings.people),
        "episodes": len(episodes),
        "missed": missed,
        "missed_rate": {"value": rate.value, "low": rate.low, "high": rate.high},
        "false": len(outcome.false),
        "hours": days * 24,
        "camera_days": days,
        "false_per_camera_day": asdict(per_day(len(outcome.false), days)),
        "time_to_alert_s": _times(waited) if waited else None,
        "tiers": {
            tier: {
                "strangers": strangers,
                "found": sum(one.tier == tier for one in outcome.right),
                "false": sum(one.tier == tier for one in outcome.false),
            }
            for tier, strangers in findings.strangers.items()
        },
        "cameras": [_camera(one, outcome) for one in findings.cameras],
        "episode_list": [_episode(one) for one in episodes],
        "false_list": [
            {
                "identity": one.identity,
                "camera": one.camera,
                "at_s": one.first_s,
                "tier": one.tier,
                "score": one.score,
            }
            for one in outcome.false
        ],
        "not_listed": list(not_listed),
        "remarks": list(findings.remarks),
        **provenance.as_json(),
    }


def _camera(one: Watched, outcome: video.Outcome) -> dict[str, Any]:
    episodes = [episode for episode in outcome.episodes if episode.camera == one.camera]
    false = sum(alert.camera == one.camera for alert in outcome.false)
    return {
        "id": one.camera,
        "name": one.name,
        "file": one.file,
        "sha256": one.sha256,
        "seconds": one.seconds,
        "episodes": len(episodes),
        "missed": sum(episode.tier is None for episode in episodes),
        "false": false,
        "false_per_day": asdict(per_day(false, one.seconds / DAY_S)),
    }


def _episode(one: Episode) -> dict[str, Any]:
    return {
        "identity": one.identity,
        "camera": one.camera,
        "start_s": one.start_s,
        "end_s": one.end_s,
        "found": one.tier is not None,
        "tier": one.tier,
        "score": one.score,
        "time_to_alert_s": one.time_to_alert_s,
    }


def _times(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median": float(np.median(seconds)),
        "p95": float(np.percentile(seconds, 95)),
        "longest": max(seconds),
    }


def _rates(fpir: Rate, fnir: Rate) -> dict[str, Any]:
    return {"fpir": asdict(fpir), "fnir": asdict(fnir)}


def _power(rate: float) -> str:
    return f"{rate:.0e}".replace("e-0", "e-")
