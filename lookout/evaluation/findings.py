"""What a system made of recordings, as its registry has it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.evaluation.video import Alerted, Seen
from lookout.stores.registry.tables import Alert, AlertSighting, CameraRow, Sighting, Target, Video


@dataclass(frozen=True, slots=True)
class Watched:
    """A camera, and its recording as it was searched."""

    camera: str
    name: str
    group: str
    file: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was recorded, and all alerts.

    Attributes:
        people: names of all who are listed.
        strangers: tier -> of how many strangers one may be reported.
        cameras: in the order of the camera file.
        alerts: by time.
        remarks: what was left out, for people.
    """

    people: frozenset[str]
    strangers: dict[str, int]
    cameras: tuple[Watched, ...]
    alerts: tuple[Alerted, ...]
    remarks: tuple[str, ...]


def read_cameras(session: Session, ids: list[str]) -> tuple[Watched, ...]:
    """The cameras of these ids, each with its one recording."""
    rows = session.execute(select(CameraRow, Video).join(Video, Video.camera_id == CameraRow.id)).all()
    found = {
        camera.id: Watched(
            camera.id, camera.name, camera.camera_group, video.file_name, video.sha256, video.duration_us / 1e6
        )
        for camera, video in rows
    }
    return tuple(found[one] for one in ids)


def read_alerts(session: Session, start_us: int) -> tuple[Alerted, ...]:
    """All alerts with their sightings, on recordings that began at `start_us`."""
    rows = session.execute(
        select(Alert, Target.name, Sighting)
        .join(Target, Target.id == Alert.target_id)
        .join(AlertSighting, AlertSighting.alert_id == Alert.id)
        .join(Sighting, Sighting.id == AlertSighting.sighting_id)
        .order_by(Alert.first_captured_at_us, Alert.id, Sighting.started_at_us)
    ).all()
    seen: dict[str, list[Seen]] = {}
    for alert, _, sighting in rows:
        span = (sighting.started_at_us - start_us) / 1e6, (sighting.ended_at_us - start_us) / 1e6
        seen.setdefault(alert.id, []).append(Seen(sighting.camera_id, *span))
    return tuple(
        Alerted(
            name, alert.camera_id, alert.tier, alert.score, (alert.first_captured_at_us - start_us) / 1e6,
            tuple(seen[alert.id]),
        )
        for alert, name in {alert.id: (alert, name) for alert, name, _ in rows}.values()
    )  # fmt: skip
