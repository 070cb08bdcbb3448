"""Rights: what a role may do, and whose data a user may see."""

from __future__ import annotations

from dataclasses import dataclass

from lookout.audit import Actor
from lookout.stores.registry.tables import User

#: Everything one can be allowed to do. Personal tokens carry some of them as scopes.
SCOPES = {
    "alerts:read": "see alerts and their pictures",
    "alerts:judge": "confirm and reject alerts, and hold them",
    "sightings:search": "search sightings by face and see their pictures",
    "footage:read": "play recorded footage",
    "footage:export": "export footage, crops and reports",
    "videos:write": "hand in videos to be indexed",
    "watchlists:read": "see watchlists and the targets on them",
    "watchlists:write": "make and change watchlists, enrol and change targets",
    "targets:erase": "erase targets with all that is stored of them",
    "webhooks:write": "see and change where alerts are sent",
    "cameras:read": "see cameras and their last picture",
    "cameras:write": "add, change and remove cameras",
    "audit:read": "read, verify and export the audit log",
    "users:write": "see and change users and their rights",
}

ROLE_SCOPES: dict[str, frozenset[str]] = {
    "operator": frozenset(
        {
            "alerts:read",
            "alerts:judge",
            "watchlists:read",
            "watchlists:write",
            "targets:erase",
            "cameras:read",
            "footage:read",
        }
    ),
    "analyst": frozenset(
        {
            "alerts:read",
            "watchlists:read",
            "cameras:read",
            "sightings:search",
            "footage:read",
            "footage:export",
            "videos:write",
        }
    ),
    "auditor": frozenset({"audit:read"}),
    "admin": frozenset(SCOPES),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what of Lookout is theirs to see.

    Attributes:
        watchlists: ids of the watchlists with a right to; None: all.
        camera_groups: names of the groups with a right to; None: all.
    """

    user_id: str
    name: str
    role: str
    scopes: frozenset[str]
    watchlists: frozenset[str] | None
    camera_groups: frozenset[str] | None
    actor: Actor

    def may(self, scope: str) -> bool:
        """Whether it is allowed to do that."""
        return scope in self.scopes

    def sees_watchlist(self, watchlist_id: str) -> bool:
        """Whether there is a right to a watchlist."""
        return self.watchlists is None or watchlist_id in self.watchlists

    def sees_group(self, camera_group: str) -> bool:
        """Whether there is a right to a camera group."""
        return self.camera_groups is None or camera_group in self.camera_groups


def identity(user: User, *, via: str, address: str, scopes: frozenset[str] | None = None) -> Identity:
    """Who a user is, with all rights of the role or, for a token, those that its scopes leave."""
    allowed = ROLE_SCOPES[user.role]
    return Identity(
        user_id=user.id,
        name=user.name,
        role=user.role,
        scopes=allowed if scopes is None else allowed & scopes,
        watchlists=None if user.watchlist_ids is None else frozenset(user.watchlist_ids),
        camera_groups=None if user.camera_groups is None else frozenset(user.camera_groups),
        actor=Actor(user.name, via, address),
    )
