"""Erasure of a target, from its page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import Response

from lookout.accounts.rights import Identity
from lookout.targets.people import get_target
from search import erasure
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)


@router.post("/targets/{target_id}/erase")
def erase_target(
    request: Request,
    who: Annotated[Identity, Depends(Allowed("targets:erase"))],
    parts: Annotated[Parts, Depends(parts_of)],
    target_id: Annotated[str, Path(max_length=64)],
    reason: Annotated[str, Form(max_length=1000, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """Erase, and show what went."""
    with parts.registry.reading() as session:
        watchlist_id = get_target(session, who, target_id).watchlist_id
    gone = erasure.erase(parts, who, target_id, reason)
    return pages.page(request, "targets/erased.html", gone=gone, watchlist_id=watchlist_id)
