"""Personal tokens: what programs use instead of a session. Everybody sees and makes only their own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from lookout.accounts import sessions, users
from lookout.accounts.rights import SCOPES
from lookout.clock import isoformat
from lookout.stores.registry.tables import ApiToken
from search.api import api_router
from search.api.once import Key, fingerprint, once
from search.parts import Parts, parts_of
from search.security import SignedIn

router = api_router(tag="tokens")
WithParts = Annotated[Parts, Depends(parts_of)]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "You have no such token."}}


class TokenIn(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[^\x00]*$", description="what it is for", examples=["nightly report"]
    )
    scopes: list[Annotated[str, Field(max_length=40)]] = Field(
        min_length=1,
        max_length=len(SCOPES),
        description="what it may be used for, at most what you may: "
        + "; ".join(f"`{scope}`: {text}" for scope, text in SCOPES.items()),
        examples=[["alerts:read"]],
    )
    days: int | None = Field(
        90, ge=1, le=sessions.MAX_TOKEN_DAYS, description="how long it can be used; null: until revoked"
    )


class TokenOut(BaseModel):
    """A token."""

    id: str
    name: str
    scopes: list[str]
    created_at: str = Field(description="RFC 3339, UTC")
    expires_at: str | None = Field(description="RFC 3339, UTC; null: never")
    last_used_at: str | None = Field(description="to the minute; RFC 3339, UTC")


class CreatedToken(TokenOut):
    """A token just made."""

    secret: str | None = Field(
        description="sent as `Authorization: Bearer …`; shown only now, and null if this request is a repeated one"
    )


class TokenList(BaseModel):
    """Your tokens, newest first: all of them, as there are never more than a hundred."""

    items: list[TokenOut]


@router.get("/tokens", response_model=TokenList)
def list_tokens(parts: WithParts, who: SignedIn) -> dict[str, Any]:
    """Your own tokens."""
    with parts.registry.reading() as session:
        return {"items": [as_token(one) for one in sessions.tokens_of(session, who.user_id)]}


@router.post("/tokens", response_model=CreatedToken, status_code=HTTPStatus.CREATED)
def create_token(request: Request, parts: WithParts, who: SignedIn, body: TokenIn, key: Key = None) -> Response:
    """Make a token of your own. A token cannot make one that may do more than itself."""

    def make(session: Session) -> dict[str, Any]:
        user = users.get_user(session, who.user_id, lock=True)
        token, secret = sessions.create_token(
            session, who.actor, user, name=body.name, scopes=body.scopes, days=body.days, at_most=who.scopes
        )
        return as_token(token) | {"secret": secret}

    sent = fingerprint(request, body.model_dump_json().encode())
    return once(parts.registry, who, key, sent, make, shown_once=("secret",))


@router.delete("/tokens/{token_id}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def revoke_token(parts: WithParts, who: SignedIn, token_id: Id) -> None:
    """End a token of your own at once."""
    with parts.registry.transaction() as session:
        sessions.revoke_token(session, who.actor, who.user_id, token_id)


def as_token(token: ApiToken) -> dict[str, Any]:
    """A token as JSON, without its secret, which nobody knows."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": token.scopes,
        "created_at": isoformat(token.created_at_us),
        "expires_at": None if token.expires_at_us is None else isoformat(token.expires_at_us),
        "last_used_at": None if token.last_used_at_us is None else isoformat(token.last_used_at_us),
    }
