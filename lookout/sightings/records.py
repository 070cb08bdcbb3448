"""Sightings as people look at them, each as far as their rights go."""

from __future__ import annotations

from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.errors import NotFoundError
from lookout.stores.registry.tables import Sighting, StoredCrop


def get_sighting(session: Session, who: Identity | None, sighting_id: str) -> Sighting:
    """A sighting at a camera group with a right to; no `who`: any.

    Raises:
        NotFoundError: there is none, or no right to its camera group.
    """
    sighting = None if "\0" in sighting_id else session.get(Sighting, sighting_id)
    if sighting is None or (who is not None and not who.sees_group(sighting.camera_group)):
        raise NotFoundError(f"there is no sighting {sighting_id}.")
    return sighting


def get_crop(session: Session, who: Identity | None, sighting_id: str, crop_id: str) -> StoredCrop:
    """A crop of a sighting at a camera group with a right to.

    Raises:
        NotFoundError: there is none, or no right to its camera group.
    """
    sighting = get_sighting(session, who, sighting_id)
    crop = None if "\0" in crop_id else session.get(StoredCrop, crop_id)
    if crop is None or crop.sighting_id != sighting.id:
        raise NotFoundError(f"sighting {sighting_id} has no crop {crop_id}.")
    return crop


def record_view(session: Session, actor: Actor, sighting: Sighting) -> None:
    """Write to the audit that somebody looks at a sighting."""
    detail = {"camera": sighting.camera_id}
    audit.record(session, actor, "sighting.viewed", "sighting", sighting.id, detail=detail)
