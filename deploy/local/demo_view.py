"""What the demo shows, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from deploy.local.clips import CLIPS
from deploy.local.meter import Meter
from deploy.local.system import LocalSystem
from lookout.clock import isoformat
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, Sighting, Target


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The demo at one moment."""

    elapsed_s: float
    started_s: float
    cameras: list[dict[str, Any]]
    crops: dict[str, int]
    sightings: int
    alerts: list[dict[str, Any]]
    queue_depth_max: int
    processes: list[dict[str, Any]]
    page: str
    logs: str

    def as_json(self) -> dict[str, Any]:
        """The report of `lookout demo --json`."""
        return {
            "seconds": round(self.elapsed_s, 1),
            "start_seconds": round(self.started_s, 1),
            "cameras": self.cameras,
            "crops": self.crops,
            "sightings": self.sightings,
            "alerts": self.alerts,
            "queue_depth_max": self.queue_depth_max,
            "processes": self.processes,
        }


def read_snapshot(
    meter: Meter,
    registry: Registry,
    system: LocalSystem,
    queue_depth_max: int,
    *,
    started_s: float,
    elapsed_s: float,
) -> Snapshot:
    """Put together what metrics and registry say now."""
    total = meter.total
    with registry.reading() as session:
        sightings = session.scalar(select(func.count()).select_from(Sighting)) or 0
        alerts = [
            {
                "target": alert.target.name,
                "watchlist": alert.target.watchlist.name,
                "camera": alert.camera_id,
                "tier": alert.tier,
                "score": round(alert.score, 3),
                "first_captured_at": isoformat(alert.first_captured_at_us),
                "latency_ms": round(alert.latency_us / 1000),
                "updates": alert.updates,
                "crop": alert.crop_id,
            }
            for alert in session.scalars(
                select(Alert)
                .options(joinedload(Alert.target).joinedload(Target.watchlist))
                .order_by(Alert.stored_at_us)
            )
        ]
    return Snapshot(
        elapsed_s=elapsed_s,
        started_s=started_s,
        cameras=[
            {
                "name": camera,
                "state": meter.camera_state(camera),
                "frames_decoded": total("lookout_frames_decoded_total", camera=camera),
                "frames_analysed": total("lookout_frames_analysed_total", camera=camera),
                "faces": total("lookout_faces_detected_total", camera=camera),
            }
            for camera in CLIPS
        ],
        crops={
            "published": total("lookout_crops_published_total"),
            "embedded": total("lookout_crops_embedded_total"),
            "shed": total("lookout_crops_shed_total"),
            "expired": total("lookout_crops_expired_total"),
            "failed": total("lookout_crops_failed_total") + total("lookout_crops_missing_total"),
        },
        sightings=sightings,
        alerts=alerts,
        queue_depth_max=queue_depth_max,
        processes=[
            {
                "name": child.name,
                "pid": child.pid,
                "rss_mb": round(child.peak_rss / 1e6),
                "cpu_s": round(child.cpu_s, 1),
                "restarts": child.restarts,
            }
            for child in system.children
        ],
        page=system.endpoints.search_url,
        logs=str(system.logs),
    )


def render(snapshot: Snapshot) -> Group:
    """The demo for a terminal."""
    cameras = Table("camera", "state", "frames/s", "analysed/s", "faces", title="Cameras", title_justify="left")
    seconds = max(snapshot.elapsed_s, 0.1)
    for camera in snapshot.cameras:
        cameras.add_row(
            camera["name"],
            camera["state"],
            f"{camera['frames_decoded'] / seconds:.1f}",
            f"{camera['frames_analysed'] / seconds:.1f}",
            str(camera["faces"]),
        )
    alerts = Table(
        "target", "camera", "tier", "score", "since", "latency", "better", title="Alerts", title_justify="left"
    )
    for alert in snapshot.alerts:
        alerts.add_row(
            f"{alert['target']} ({alert['watchlist']})",
            alert["camera"],
            alert["tier"],
            f"{alert['score']:.2f}",
            alert["first_captured_at"][11:19],
            f"{alert['latency_ms']} ms",
            str(alert["updates"]),
        )
    crops = snapshot.crops
    processes = ", ".join(f"{one['name']} {one['rss_mb']} MB" for one in snapshot.processes)
    return Group(
        Text(f"Lookout demo, {snapshot.elapsed_s:.0f} s (ready after {snapshot.started_s:.1f} s); Ctrl-C ends it"),
        cameras,
        alerts if snapshot.alerts else Text("no alerts yet"),
        Text(
            f"crops {crops['published']} published, {crops['embedded']} embedded, {crops['shed']} shed, "
            f"{crops['failed']} failed; {snapshot.sightings} sightings; queue at most {snapshot.queue_depth_max}"
        ),
        Text(f"memory: {processes}"),
        Text(f"page: {snapshot.page}, logs: {snapshot.logs}", overflow="fold"),
    )
