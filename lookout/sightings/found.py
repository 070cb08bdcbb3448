"""A sighting as a search shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, select
from sqlalchemy.orm import Session, aliased

from lookout.stores.registry.tables import CameraRow, Segment, Sighting, StoredCrop, Video

#: SQLite takes some thousand parameters in a statement.
ROWS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A sighting with its score.

    Attributes:
        camera_name: what people call the camera; its id if the camera was removed.
        best_at_us: when its best crop was taken.
        score: cosine, -1..1.
        crop_id: the best crop that has a picture; None if no picture is left.
        video_id: the handed-in video it was found in; None: seen live.
        video_offset_s: where the sighting begins, in seconds from the start of the handed-in video or of the recorded
            segment that shows it; None without footage. What `best_at_us` shows lies as much later as it is after
            `started_at_us`.
        video_name: file name of the handed-in video.
        box_xyxy: of the best crop, in pixels of the full-size frame.
    """

    sighting_id: str
    camera_id: str
    camera_name: str
    started_at_us: int
    ended_at_us: int
    best_at_us: int
    score: float
    crop_id: str | None
    video_id: str | None
    video_offset_s: float | None
    video_name: str | None
    box_xyxy: tuple[float, ...]


def load_found(session: Session, scores: Mapping[str, float]) -> list[Found]:
    """Sightings by id with their scores, in the order of `scores`; those that are gone are left out."""
    ids = list(scores)
    made = dict[str, Found]()
    for start in range(0, len(ids), ROWS_PER_STATEMENT):
        chunk = ids[start : start + ROWS_PER_STATEMENT]
        best = _best_crops(session, chunk)
        for row in session.execute(_details(Sighting.id.in_(chunk))):
            sighting = row.Sighting
            crop = best.get(sighting.id)
            made[sighting.id] = Found(
                sighting_id=sighting.id,
                camera_id=sighting.camera_id,
                camera_name=row.camera_name or sighting.camera_id,
                started_at_us=sighting.started_at_us,
                ended_at_us=sighting.ended_at_us,
                best_at_us=crop.captured_at_us if crop else sighting.started_at_us,
                score=scores[sighting.id],
                crop_id=crop.id if crop and crop.blob else None,
                video_id=sighting.video_id,
                video_offset_s=_offset_s(sighting, row.video_start, row.segment_start, row.segment_end),
                video_name=row.video_name,
                box_xyxy=tuple(crop.box_xyxy) if crop else (),
            )
    return [made[one] for one in ids if one in made]


def _best_crops(session: Session, ids: Iterable[str]) -> dict[str, StoredCrop]:
    crops = session.scalars(select(StoredCrop).where(StoredCrop.sighting_id.in_(ids)))
    best = dict[str, StoredCrop]()
    for crop in crops:
        known = best.get(crop.sighting_id)
        if known is None or _rank(crop) > _rank(known):
            best[crop.sighting_id] = crop
    return best


def _rank(crop: StoredCrop) -> tuple[bool, float, str]:
    return bool(crop.blob), crop.quality, crop.id


def _details(which: ColumnElement[bool]) -> Select[Any, Any, Any, Any, Any, Any]:
    segment = aliased(Segment)

    def newest(column: ColumnElement[int]) -> ScalarSelect[int]:
        return (
            select(column)
            .where(
                segment.camera_id == Sighting.camera_id,
                segment.started_at_us <= Sighting.started_at_us,
                segment.video_id.is_(None),
            )
            .order_by(segment.started_at_us.desc())
            .limit(1)
            .correlate(Sighting)
            .scalar_subquery()
        )

    return (
        select(
            Sighting,
            CameraRow.name.label("camera_name"),
            Video.started_at_us.label("video_start"),
            Video.file_name.label("video_name"),
            newest(segment.started_at_us).label("segment_start"),  # type: ignore[arg-type]
            newest(segment.ended_at_us).label("segment_end"),  # type: ignore[arg-type]
        )
        .outerjoin(CameraRow, CameraRow.id == Sighting.camera_id)
        .outerjoin(Video, Video.id == Sighting.video_id)
        .where(which)
    )


def _offset_s(
    sighting: Sighting, video_start: int | None, segment_start: int | None, segment_end: int | None
) -> float | None:
    if sighting.video_id is not None:
        start = video_start
    else:
        start = segment_start if segment_end is not None and sighting.started_at_us <= segment_end else None
    return None if start is None else round((sighting.started_at_us - start) / 1e6, 3)
