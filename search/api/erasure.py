"""Erasure of a target."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Depends, Path, Query
from pydantic import BaseModel, Field

from lookout.accounts.rights import Identity
from search import erasure
from search.api import api_router
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="targets")


class ErasureOut(BaseModel):
    """What went with a target."""

    target_id: str
    photos: int = Field(description="enrolment photos, with their templates and cut-out faces")
    sightings: int = Field(description="with their templates")
    crops: int = Field(description="pictures of the sightings")
    frames: int = Field(description="pictures of whole frames")
    alerts: int = Field(description="that remain as records without name and picture")
    deliveries: int = Field(description="to webhooks, sent or not")
    kept_sightings: int = Field(description="that alerts of other targets hold, too, and that stay with these")


@router.delete(
    "/targets/{target_id}",
    responses={
        404: {"description": "There is none, no right to its watchlist, or it was erased before."},
        503: {"description": "A store does not answer; nothing is erased."},
    },
)
def erase_target(
    who: Annotated[Identity, Depends(Allowed("targets:erase"))],
    parts: Annotated[Parts, Depends(parts_of)],
    target_id: Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")],
    reason: Annotated[str, Query(max_length=1000, pattern=r"^[^\x00]*$", description="kept in the audit log")] = "",
) -> ErasureOut:
    """Erase a person from every store. There is no way back."""
    return ErasureOut(**asdict(erasure.erase(parts, who, target_id, reason)))
