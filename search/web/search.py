"""The page of search by face. The photo stays in the browser, which sends it to the API with each search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.cameras import list_cameras
from lookout.errors import BadInputError, NotFoundError
from lookout.footage.playing import best_crop
from lookout.sightings.query import default_min_score
from lookout.sightings.records import get_sighting
from lookout.stores.registry.tables import Sighting
from lookout.targets.people import get_target, photos_of
from search.api.photos import as_examination
from search.parts import Parts, parts_of
from search.security import Allowed
from search.uploads import Sent
from search.web import pages

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
Searcher = Annotated[Identity, Depends(Allowed("sightings:search"))]
Wanted = Annotated[str, Query(max_length=64)]

#: What the page holds to be filtered without asking again,
LIMIT = 500
#: down to the cosine that so large a share of strangers reaches.
LEAST_RATE = 1e-2
#: Shares of comparisons of two strangers that reach what the page calls alike. Tiers are something else: a watchlist's
#: rates hold for strangers who pass, at its size.
ALIKE_RATES = {"alike": 1e-4, "very_alike": 1e-5}
#: Rates whose scores the page is told, to draw a line between.
POINTS = tuple(10.0**-power for power in range(1, 10))
MAX_REASON = 1000


@router.get("/search")
def show_search(
    request: Request, parts: WithParts, who: Searcher, sighting: Wanted = "", target: Wanted = ""
) -> Response:
    """The page; with a sighting or a target, that is what it offers to search with."""
    with parts.registry.reading() as session:
        cameras = list_cameras(session, groups=who.camera_groups)
        start = _start(session, who, sighting, target)
        empty = not _has_sightings(session, who)
    calibration = parts.model.calibration
    return pages.page(
        request,
        "search/page.html",
        cameras=cameras,
        start=start,
        empty=empty,
        levels={level: {"rate": rate, "score": calibration.score_at(rate)} for level, rate in ALIKE_RATES.items()},
        floor=calibration.score_at(LEAST_RATE),
        default=default_min_score(parts.model),
        points=[(calibration.score_at(rate), rate) for rate in POINTS],
        limit=LIMIT,
        max_reason=MAX_REASON,
    )


@router.post("/search/faces")
def find_faces(request: Request, parts: WithParts, who: Searcher, sent: Sent) -> Response:  # noqa: ARG001 - the right
    """The faces of photos, to choose from; nothing is stored."""
    if not sent.photos:
        raise BadInputError("photos: choose at least one.")
    seen = [as_examination(parts.faces.examine(photo.data, photo.name)) for photo in sent.photos]
    return pages.page(request, "search/faces.html", photos=seen)


def _start(session: Session, who: Identity, sighting_id: str, target_id: str) -> dict[str, str] | None:
    """What a link to the page wants to search with."""
    if sighting_id:
        sighting = get_sighting(session, who, sighting_id)
        crop = best_crop(session, sighting.id)
        picture = f"/api/v1/sightings/{sighting.id}/crops/{crop.id}" if crop is not None and crop.blob else ""
        return {"kind": "sighting", "id": sighting.id, "name": "", "picture": picture}
    if target_id:
        if not who.may("watchlists:read"):
            raise NotFoundError(f"there is no target {target_id}.")
        target = get_target(session, who, target_id)
        photos = [one for one in photos_of(session, target) if one.in_template]
        picture = f"/api/v1/photos/{photos[0].id}/face" if photos else ""
        return {"kind": "target", "id": target.id, "name": target.name, "picture": picture}
    return None


def _has_sightings(session: Session, who: Identity) -> bool:
    query = select(Sighting.id)
    if who.camera_groups is not None:
        query = query.where(Sighting.camera_group.in_(who.camera_groups))
    return session.scalar(query.limit(1)) is not None
