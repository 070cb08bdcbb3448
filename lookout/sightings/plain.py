"""An answer as JSON, the same on the command line and in the API."""

from __future__ import annotations

from typing import Any

from lookout.clock import isoformat
from lookout.sightings.found import Found
from lookout.sightings.search import Answer
from lookout.sightings.visits import Visit


def plain_answer(answer: Answer) -> dict[str, Any]:
    """What a search found."""
    return {
        "results": [plain_found(one) for one in answer.found],
        "visits": [plain_visit(visit) for visit in answer.visits],
        "searched": answer.searched,
        "waiting": answer.waiting,
        "elapsed_ms": answer.elapsed_ms,
    }


def plain_found(one: Found) -> dict[str, Any]:
    """A found sighting; `crop` is the path of its picture in the API."""
    return {
        "sighting": one.sighting_id,
        "camera": one.camera_id,
        "camera_name": one.camera_name,
        "start": isoformat(one.started_at_us),
        "end": isoformat(one.ended_at_us),
        "best": isoformat(one.best_at_us),
        "score": round(one.score, 4),
        "crop": f"/api/v1/sightings/{one.sighting_id}/crops/{one.crop_id}" if one.crop_id else None,
        "box": list(one.box_xyxy),
        "video": one.video_id,
        "video_name": one.video_name,
        "video_offset_s": one.video_offset_s,
    }


def plain_visit(visit: Visit) -> dict[str, Any]:
    """A visit, with the ids of its sightings."""
    return {
        "camera": visit.camera_id,
        "camera_name": visit.found[0].camera_name,
        "start": isoformat(visit.started_at_us),
        "end": isoformat(visit.ended_at_us),
        "score": round(visit.score, 4),
        "sightings": [one.sighting_id for one in visit.found],
    }
