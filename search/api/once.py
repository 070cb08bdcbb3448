"""Idempotency keys: a request that makes something, sent again, is answered as the first time and makes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.clock import now_us
from lookout.errors import BadInputError
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import IdempotencyKey

KEEP_S = 24 * 3600

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=200, description="repeat it with a request that got no answer"),
]


def fingerprint(request: Request, body: bytes) -> str:
    """What tells one request of a key from another."""
    return hashlib.sha256(b"\n".join([request.method.encode(), request.url.path.encode(), body])).hexdigest()


def once(
    registry: Registry,
    who: Identity,
    key: str | None,
    print_of_request: str,
    make: Callable[[Session], dict[str, Any]],
    *,
    shown_once: tuple[str, ...] = (),
) -> JSONResponse:
    """Make something in one transaction with the key, or repeat what was answered; 201.

    Args:
        registry: the registry.
        who: keys belong to a user.
        key: None: always make it.
        print_of_request: of `fingerprint`.
        make: makes it and returns the answer.
        shown_once: members of the answer that are not kept, as they are secrets: null in a repeated one.

    Raises:
        BadInputError: the key was used for another request.
    """
    try:
        with registry.transaction() as session:
            known = session.get(IdempotencyKey, (who.user_id, key)) if key else None
            if known is not None:
                return _repeat(known, print_of_request)
            if key is None:
                return JSONResponse(make(session), HTTPStatus.CREATED)
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at_us < now_us() - KEEP_S * 1_000_000))
            claim = IdempotencyKey(
                user_id=who.user_id,
                key=key,
                fingerprint=print_of_request,
                status=HTTPStatus.CREATED,
                answer={},
                created_at_us=now_us(),
            )
            session.add(claim)
            session.flush()  # the same request at the same time waits here for this one's end
            answer = make(session)
            claim.answer = {name: None if name in shown_once else value for name, value in answer.items()}
    except IntegrityError:
        # The same request twice at the same time: the other one was faster.
        with registry.reading() as session:
            known = session.get(IdempotencyKey, (who.user_id, key)) if key else None
            if known is None:
                raise
            return _repeat(known, print_of_request)
    return JSONResponse(answer, HTTPStatus.CREATED)


def _repeat(known: IdempotencyKey, print_of_request: str) -> JSONResponse:
    if known.fingerprint != print_of_request:
        raise BadInputError("Idempotency-Key: it was used for another request; take a new one.")
    return JSONResponse(known.answer, known.status)
