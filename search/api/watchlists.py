"""Watchlists."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.alerts.precision import precision_of
from lookout.clock import isoformat
from lookout.faces.calibration import Calibration
from lookout.faces.gates import USUAL
from lookout.stores.registry.tables import Watchlist
from lookout.targets.people import ListedWatchlist, count_targets, get_watchlist, is_overdue, list_watchlists
from lookout.watchlists import records as watchlists
from lookout.watchlists.records import WatchlistFields
from lookout.watchlists.schedule import MAX_WINDOWS
from lookout.watchlists.thresholds import MOST_STRANGERS, STRANGERS, thresholds
from search.api import api_router
from search.api.once import Key, fingerprint, once
from search.api.versions import IfMatch, check_version, set_etag
from search.indexing import index_now
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="watchlists")
WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("watchlists:read"))]
Writer = Annotated[Identity, Depends(Allowed("watchlists:write"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
Tier = Literal["possible", "likely"]
Group = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]*$")]
NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or no right to it."}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "There is one of that name already."}}
STALE: dict[int | str, dict[str, Any]] = {412: {"description": "Somebody else changed it meanwhile."}}


_PER = "when so many strangers pass, at most one of them is reported as"


class Window(BaseModel):
    """Hours on some days. One that does not end after its begin goes on into the next day."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(min_length=1, max_length=7)
    begin: str = Field(alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="local time, HH:MM")
    end: str = Field(
        alias="to", pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", description="local time, HH:MM, or 24:00"
    )


class ScheduleIn(BaseModel):
    """Hours of the week by the clocks of a time zone."""

    model_config = ConfigDict(extra="forbid")

    zone: str = Field(min_length=1, max_length=100, description="IANA name, such as Europe/Berlin")
    windows: list[Window] = Field(min_length=1, max_length=MAX_WINDOWS)


class WatchlistIn(BaseModel):
    """What people say of a watchlist."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=NO_CONTROLS)
    purpose: str = Field(min_length=1, max_length=1000, pattern=NO_CONTROLS, description="what people are looked for")
    legal_basis: str = Field(min_length=1, max_length=1000, pattern=NO_CONTROLS, description="what allows it")
    authorised_by: str = Field("", max_length=200, pattern=NO_CONTROLS)
    review_on: date | None = Field(None, description="when somebody must look whether it is still needed")
    possible_strangers: int = Field(
        STRANGERS["possible"], ge=1, le=MOST_STRANGERS, description=f"{_PER} `possible` or higher"
    )
    likely_strangers: int = Field(STRANGERS["likely"], ge=1, le=MOST_STRANGERS, description=f"{_PER} `likely`")
    min_face_px: int = Field(
        USUAL.min_face_px,
        ge=watchlists.MIN_MATCHED_PX,
        le=watchlists.MAX_FACE_PX,
        description="narrower faces are kept as sightings and never alert, and are not enrolled",
    )
    min_quality: float = Field(
        USUAL.min_quality,
        ge=0,
        le=1,
        description="faces below are kept as sightings and never alert, and are not enrolled",
    )
    camera_groups: list[Group] = Field(default=[], max_length=watchlists.MAX_GROUPS, description="empty: all")
    schedule: ScheduleIn | None = Field(None, description="when it is looked for; null: always")
    two_person_tiers: list[Tier] = Field(
        default=[], max_length=2, description="tiers whose alerts two persons must judge alike"
    )
    reason_required: bool = Field(False, description="whether who looks at a target or judges must say why")
    acknowledge_within_s: int | None = Field(
        None, ge=1, le=watchlists.MAX_ACKNOWLEDGE_S, description="an unjudged alert is overdue after this time"
    )
    retention_days: int = Field(
        30, ge=1, le=watchlists.MAX_RETENTION_DAYS, description="how long alerts and their pictures are kept"
    )

    def fields(self) -> WatchlistFields:
        """For the domain."""
        values = self.model_dump(by_alias=True)
        return WatchlistFields(**values)


class ThresholdOut(BaseModel):
    """From when on a match is worth an alert, and how often strangers are reported so."""

    strangers: int = Field(description="of so many strangers who pass at most one is reported")
    cosine: float = Field(description="the score that this takes at the watchlist's size, with the embedder in use")
    false_match_rate: float = Field(description="share of comparisons of two strangers that reach it")


class WatchlistOut(BaseModel):
    """A watchlist."""

    id: str
    name: str
    purpose: str
    legal_basis: str
    authorised_by: str
    review_on: date | None
    review_overdue: bool
    possible_strangers: int
    likely_strangers: int
    min_face_px: int
    min_quality: float
    thresholds: dict[Tier, ThresholdOut] = Field(description="as they hold now")
    camera_groups: list[str]
    schedule: dict[str, Any] | None
    two_person_tiers: list[str]
    reason_required: bool
    acknowledge_within_s: int | None
    retention_days: int
    targets: int = Field(description="how many people are on it")
    archived_at: str | None = Field(description="since when it is out of use; RFC 3339, UTC")
    created_at: str = Field(description="RFC 3339, UTC")
    version: int


class PrecisionOut(BaseModel):
    """What people said of a tier's alerts."""

    confirmed: int
    rejected: int
    share: float | None = Field(description="of judged alerts that were right; null before the first verdict")
    low: float = Field(description="with 95 % certainty the share is not below,")
    high: float = Field(description="nor above")


class WatchlistList(BaseModel):
    """Watchlists, by name."""

    items: list[WatchlistOut]


@router.get("/watchlists", response_model=WatchlistList)
def list_all(
    parts: WithParts,
    who: Reader,
    archived: Annotated[bool, Query(description="whether to show those out of use, too")] = False,
) -> dict[str, Any]:
    """All watchlists with a right to."""
    with parts.registry.reading() as session:
        listed = list_watchlists(session, who, archived=archived)
        return {"items": [as_listed(one, parts.model.calibration) for one in listed]}


@router.post(
    "/watchlists", status_code=201, response_model=WatchlistOut, responses=CONFLICT, summary="Make a watchlist"
)
def create(request: Request, parts: WithParts, who: Writer, body: WatchlistIn, key: Key = None) -> Response:
    """Make a watchlist; who makes it gets the right to it."""

    def make(session: Session) -> dict[str, Any]:
        made = watchlists.create_watchlist(session, who.actor, body.fields(), owner_id=who.user_id)
        return as_watchlist(made, 0, parts.model.calibration)

    return once(parts.registry, who, key, fingerprint(request, body.model_dump_json().encode()), make)


@router.get("/watchlists/{watchlist_id}", response_model=WatchlistOut, responses=NOT_FOUND)
def get(response: Response, parts: WithParts, who: Reader, watchlist_id: Id) -> dict[str, Any]:
    """A watchlist."""
    with parts.registry.reading() as session:
        found = get_watchlist(session, who, watchlist_id)
        set_etag(response, found.version)
        return as_watchlist(found, count_targets(session, found.id), parts.model.calibration)


@router.get("/watchlists/{watchlist_id}/precision", response_model=dict[Tier, PrecisionOut], responses=NOT_FOUND)
def get_precision(parts: WithParts, who: Reader, watchlist_id: Id) -> dict[str, Any]:
    """How often its alerts were right, by people's verdicts on those that are still kept."""
    with parts.registry.reading() as session:
        found = get_watchlist(session, who, watchlist_id)
        tiers = precision_of(session, [found.id])[found.id]
    return {
        tier: {
            "confirmed": one.confirmed,
            "rejected": one.rejected,
            "share": one.share,
            "low": one.interval[0],
            "high": one.interval[1],
        }
        for tier, one in tiers.items()
    }


@router.put("/watchlists/{watchlist_id}", response_model=WatchlistOut, responses={**NOT_FOUND, **CONFLICT, **STALE})
def change(
    response: Response, parts: WithParts, who: Writer, watchlist_id: Id, body: WatchlistIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """Give a watchlist other fields; those that are left out get their defaults."""
    with parts.registry.transaction() as session:
        found = get_watchlist(session, who, watchlist_id, lock=True)
        check_version(if_match, found.version)
        watchlists.change_watchlist(session, who.actor, found, body.fields())
        set_etag(response, found.version)
        return as_watchlist(found, count_targets(session, found.id), parts.model.calibration)


@router.post("/watchlists/{watchlist_id}/archive", response_model=WatchlistOut, responses=NOT_FOUND)
def archive(response: Response, parts: WithParts, who: Writer, watchlist_id: Id) -> dict[str, Any]:
    """Take a watchlist out of use: nobody on it is matched any more, and nothing of it is lost."""
    return _set_archived(response, parts, who, watchlist_id, archived=True)


@router.post("/watchlists/{watchlist_id}/restore", response_model=WatchlistOut, responses=NOT_FOUND)
def restore(response: Response, parts: WithParts, who: Writer, watchlist_id: Id) -> dict[str, Any]:
    """Put an archived watchlist to use again."""
    return _set_archived(response, parts, who, watchlist_id, archived=False)


def _set_archived(
    response: Response, parts: Parts, who: Identity, watchlist_id: str, *, archived: bool
) -> dict[str, Any]:
    with parts.registry.transaction() as session:
        found = get_watchlist(session, who, watchlist_id, lock=True)
        step = watchlists.archive_watchlist if archived else watchlists.restore_watchlist
        step(session, who.actor, found)
        answer = as_watchlist(found, count_targets(session, found.id), parts.model.calibration)
    index_now(parts)
    set_etag(response, found.version)
    return answer


def meaning(watchlist: Watchlist, targets: int, calibration: Calibration) -> dict[str, dict[str, Any]]:
    """What a watchlist's error rates take at its size; of an empty one, for the first person on it."""
    limits = thresholds(watchlist, targets, calibration)
    stated = {"possible": watchlist.possible_strangers, "likely": watchlist.likely_strangers}
    return {
        tier: {
            "strangers": strangers,
            "cosine": limits.of(tier),
            "false_match_rate": calibration.rate_at(limits.of(tier)),
        }
        for tier, strangers in stated.items()
    }


def as_listed(listed: ListedWatchlist, calibration: Calibration) -> dict[str, Any]:
    """A watchlist of a list as JSON."""
    return as_watchlist(listed.watchlist, listed.targets, calibration)


def as_watchlist(watchlist: Watchlist, targets: int, calibration: Calibration) -> dict[str, Any]:
    """A watchlist as JSON."""
    return {
        "id": watchlist.id,
        "name": watchlist.name,
        "purpose": watchlist.purpose,
        "legal_basis": watchlist.legal_basis,
        "authorised_by": watchlist.authorised_by,
        "review_on": watchlist.review_on.isoformat() if watchlist.review_on else None,
        "review_overdue": is_overdue(watchlist),
        "possible_strangers": watchlist.possible_strangers,
        "likely_strangers": watchlist.likely_strangers,
        "min_face_px": watchlist.min_face_px,
        "min_quality": watchlist.min_quality,
        "thresholds": meaning(watchlist, targets, calibration),
        "camera_groups": watchlist.camera_groups,
        "schedule": watchlist.schedule,
        "two_person_tiers": watchlist.two_person_tiers,
        "reason_required": watchlist.reason_required,
        "acknowledge_within_s": watchlist.acknowledge_within_s,
        "retention_days": watchlist.retention_days,
        "targets": targets,
        "archived_at": isoformat(watchlist.archived_at_us) if watchlist.archived_at_us is not None else None,
        "created_at": isoformat(watchlist.created_at_us),
        "version": watchlist.version,
    }
