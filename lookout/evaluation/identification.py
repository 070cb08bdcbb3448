"""Who passes against who is listed: missed people at a stated share of false alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookout.evaluation.pictures import Face, Pictures
from lookout.evaluation.protocols import Entry
from lookout.evaluation.statistics import NO_SCORE, Scores, interval, resampled, threshold_at
from lookout.faces.calibration import Calibration
from lookout.faces.combining import STRANGER_RATE, combine
from lookout.stores.templates import LEAST_WEIGHT

FPIRS = (0.003, 0.01, 0.03, 0.1)
RESAMPLES = 1000
#: Groups with fewer passes are marked: their figures say little.
SMALL_GROUP = 100
DET_POINTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """All searches of a protocol.

    Attributes:
        gallery: identities that could be enrolled.
        not_enrolled: those that could not: none of their photos shows a face.
        known: identity of each search of a listed person.
        own: `(K,)` the person's own score where it was the best of the gallery, otherwise `NO_SCORE`.
        first: `(K,)` whether it was the best.
        unknown: identity of each stranger's search.
        best: `(U,)` the best score that a stranger reached.
        failures: searches without a face, by their pictures' paths: misses of listed people, no alarms of strangers.
    """

    gallery: Sequence[str]
    not_enrolled: Sequence[str]
    known: Sequence[str]
    own: Scores
    first: NDArray[np.bool_]
    unknown: Sequence[str]
    best: Scores
    failures: Mapping[str, str]


def identify(entries: Sequence[Entry], pictures: Pictures, calibration: Calibration) -> Outcome:
    """Enrol the gallery, then search it for each probe. Several photos of a person become one template, as enrolled."""
    photos: dict[str, list[Face]] = {}
    for entry in entries:
        if entry.role in ("gallery", "distractor_gallery"):
            theirs = photos.setdefault(entry.identity, [])
            if entry.path in pictures.faces:
                theirs.append(pictures.faces[entry.path])
    gallery = [identity for identity, theirs in photos.items() if theirs]
    templates = np.stack([_template(photos[identity], calibration) for identity in gallery])
    known = [entry for entry in entries if entry.role == "probe_known"]
    unknown = [entry for entry in entries if entry.role == "probe_unknown"]
    place = {identity: number for number, identity in enumerate(gallery)}
    own, first = np.full(len(known), NO_SCORE), np.zeros(len(known), np.bool_)
    for number, entry in enumerate(known):
        face, mate = pictures.faces.get(entry.path), place.get(entry.identity)
        if face is not None and mate is not None:
            scores = templates @ face.template
            first[number] = int(np.argmax(scores)) == mate
            own[number] = scores[mate] if first[number] else NO_SCORE
    best = np.array([_best(templates, pictures.faces.get(entry.path)) for entry in unknown])
    return Outcome(
        gallery=gallery,
        not_enrolled=[identity for identity, theirs in photos.items() if not theirs],
        known=[entry.identity for entry in known],
        own=own,
        first=first,
        unknown=[entry.identity for entry in unknown],
        best=best,
        failures={entry.path: pictures.failures[entry.path] for entry in entries if entry.path in pictures.failures},
    )


def _template(faces: Sequence[Face], calibration: Calibration) -> NDArray[np.float32]:
    stacked = np.stack([face.template for face in faces])
    weights = [max(face.quality.value, LEAST_WEIGHT) for face in faces]
    return combine(stacked, weights, calibration.score_at(STRANGER_RATE)).template


def _best(templates: NDArray[np.float32], face: Face | None) -> float:
    return NO_SCORE if face is None else float(np.max(templates @ face.template))


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with its 95 % interval, by people drawn with replacement."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold means on a set.

    Attributes:
        fpir: share of strangers who are reported (false positive identification rate).
        fnir: share of listed people who are missed (false negative identification rate, at rank 1 and the threshold):
            their own score is below it, or somebody else's is higher.
    """

    threshold: float
    fpir: Rate
    fnir: Rate


def at_fpir(outcome: Outcome, fpir: float, *, seed: int = 0) -> Point:
    """The threshold at which at most a share `fpir` of strangers is reported, and who is missed there.

    The interval of the FNIR takes in that strangers, too, are a sample: each resample has its own threshold.
    """
    threshold = threshold_at(outcome.best, fpir)
    rng = np.random.default_rng(seed)
    strangers = resampled(outcome.unknown, RESAMPLES, rng)
    order = np.argsort(outcome.best)[::-1]
    counted = np.cumsum(strangers[:, order], axis=1)
    allowed = np.floor(fpir * counted[:, -1:] + 1e-9)
    # The first stranger whose report would be one too many; the threshold lies just above.
    place = np.argmax(counted > allowed, axis=1)
    thresholds = np.nextafter(outcome.best[order][place], np.inf)
    missed = _missed(outcome, resampled(outcome.known, RESAMPLES, rng), thresholds)
    measured = _rate(outcome.best >= threshold, outcome.unknown, seed)
    return Point(threshold, measured, Rate(float(np.mean(outcome.own < threshold)), *interval(missed)))


def at_threshold(outcome: Outcome, threshold: float, *, seed: int = 0) -> Point:
    """Who is reported and who is missed at a threshold."""
    return Point(
        threshold,
        _rate(outcome.best >= threshold, outcome.unknown, seed),
        _rate(outcome.own < threshold, outcome.known, seed),
    )


def det(outcome: Outcome) -> list[tuple[float, float, float]]:
    """The detection error trade-off: threshold, FPIR, FNIR at up to `DET_POINTS` thresholds, rising."""
    scores = np.unique(np.concatenate([outcome.best, outcome.own]))
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return []
    chosen = scores[np.unique(np.linspace(0, len(scores) - 1, DET_POINTS).astype(int))]
    return [(float(t), float(np.mean(outcome.best >= t)), float(np.mean(outcome.own < t))) for t in chosen]


@dataclass(frozen=True, slots=True)
class Group:
    """The error rates of one group at the overall threshold.

    Attributes:
        small: whether there are fewer than `SMALL_GROUP` passes behind one of the rates.
    """

    name: str
    known: int
    unknown: int
    point: Point
    small: bool


def by_group(outcome: Outcome, groups: Mapping[str, str], threshold: float) -> list[Group]:
    """Who is missed and who is reported, group by group; people without a group are one of their own, named ``."""
    named = [np.array([groups.get(one, "") for one in people]) for people in (outcome.known, outcome.unknown)]
    found = []
    for name in sorted({*named[0], *named[1]}):
        known, unknown = (np.flatnonzero(of == name).tolist() for of in named)
        if not known or not unknown:
            continue
        part = Outcome(
            gallery=outcome.gallery,
            not_enrolled=(),
            known=[outcome.known[k] for k in known],
            own=outcome.own[known],
            first=outcome.first[known],
            unknown=[outcome.unknown[k] for k in unknown],
            best=outcome.best[unknown],
            failures={},
        )
        small = min(len(known), len(unknown)) < SMALL_GROUP
        found.append(Group(str(name), len(known), len(unknown), at_threshold(part, threshold), small))
    return found


def _rate(happened: NDArray[np.bool_], people: Sequence[str], seed: int) -> Rate:
    weights = resampled(people, RESAMPLES, np.random.default_rng(seed))
    return Rate(float(np.mean(happened)), *interval(weights @ happened / weights.sum(axis=1)))


def _missed(outcome: Outcome, weights: NDArray[np.int64], thresholds: Scores) -> Scores:
    """Share of missed people in each resample, each at its own threshold."""
    order = np.argsort(outcome.own)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    place = np.searchsorted(outcome.own[order], thresholds, side="left")
    return np.asarray(below[np.arange(len(weights)), place] / below[:, -1])
