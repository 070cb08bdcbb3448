"""Erasure: a target leaves every store, and what remains says nothing of a face.

The alerts' rows stay as records of what was decided, without name, picture or template; so do the audit's entries,
which hold ids only. Holds on the alerts end. A sighting of the person that is part of another target's alert stays
with that target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts.holds import release
from lookout.alerts.records import event
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import NotFoundError
from lookout.faces.models import TemplateModel
from lookout.sealing import Keyring
from lookout.sightings.removal import chunks, remove_sightings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    Delivery,
    IdempotencyKey,
    Import,
    ImportItem,
    IndexRemoval,
    Reference,
    RejectedPair,
    Sighting,
    Target,
)
from lookout.stores.templates import reference_place, unpack
from lookout.stores.vectors import Vectors
from lookout.targets.imports import cancel_import
from lookout.watchlists.thresholds import sizes, thresholds

#: Sightings looked at for each photo of the person: as many as Milvus gives at once.
SEARCHED = 16_384


@dataclass(frozen=True, slots=True)
class Erasure:
    """What went.

    Attributes:
        target_id: whose.
        photos: enrolment photos, with their templates and cut-out faces.
        sightings: with their templates, in SQL and in Milvus.
        crops: pictures of the sightings.
        frames: pictures of whole frames.
        alerts: that lost pictures and name; they remain as records.
        deliveries: to webhooks, sent or not.
        kept_sightings: that belong to other targets' alerts, too, and stay with these.
    """

    target_id: str
    photos: int
    sightings: int
    crops: int
    frames: int
    alerts: int
    deliveries: int
    kept_sightings: int


def erase_target(
    registry: Registry,
    blobs: Blobs,
    vectors: Vectors,
    keyring: Keyring,
    model: TemplateModel,
    *,
    target_id: str,
    actor: Actor,
    reason: str = "",
) -> Erasure:
    """Erase a target. From the commit on nobody can find or match the person by what was stored.

    Also found are sightings that raised no alert and resemble the person as much as an alert would need.

    Raises:
        NotFoundError: there is no such target, or it is erased already.
        UnavailableError: a store does not answer. The target is still there: call it again.
    """
    _cancel_imports(registry, actor, target_id)
    with registry.transaction() as session:
        # Locked: a worker that is about to store a match waits here, and then finds the target erased.
        target = session.get(Target, target_id, with_for_update=True)
        if target is None or target.erased_at_us is not None:
            raise NotFoundError(f"there is no target {target_id}, or it was erased before.")
        alerts = list(session.scalars(select(Alert).where(Alert.target_id == target_id).with_for_update()))
        references = list(session.scalars(select(Reference).where(Reference.target_id == target_id)))
        linked = session.scalars(
            select(AlertSighting.sighting_id).where(AlertSighting.alert_id.in_([alert.id for alert in alerts]))
        )
        alike = _sightings_alike(session, vectors, keyring, target, references, model)
        found = set(linked) | set(_existing(session, alike))
        kept = _of_others(session, found, target_id)
        gone = sorted(found - kept)
        frames = [alert.frame_blob for alert in alerts if alert.frame_blob]
        photos = [blob for reference in references for blob in (reference.photo_blob, reference.face_blob)]
        deliveries = _empty_alerts(session, actor, alerts)
        _empty_target(session, target)
        # These, too, before the commit: afterwards nobody would know of what could not be deleted.
        removed = remove_sightings(session, blobs, vectors, gone)
        for picture in frames + photos:
            blobs.delete(picture)
        erasure = Erasure(
            target_id=target_id,
            photos=len(references),
            sightings=removed.sightings,
            crops=removed.crops,
            frames=len(frames),
            alerts=len(alerts),
            deliveries=deliveries,
            kept_sightings=len(kept),
        )
        detail = {name: value for name, value in asdict(erasure).items() if name != "target_id"}
        audit.record(
            session,
            actor,
            "target.erased",
            "target",
            target_id,
            watchlist_id=target.watchlist_id,
            detail=detail,
            reason=reason,
        )
    return erasure


def _cancel_imports(registry: Registry, actor: Actor, target_id: str) -> None:
    """End running imports that name the person: they would enrol them again.

    In a transaction of its own, as imports lock themselves before targets.
    """
    with registry.transaction() as session:
        target = session.get(Target, target_id)
        if target is None:
            return
        named = select(ImportItem.import_id).where(ImportItem.person == target.name)
        running = select(Import).where(
            Import.watchlist_id == target.watchlist_id, Import.state == "running", Import.id.in_(named)
        )
        for importing in session.scalars(running.with_for_update()):
            cancel_import(session, actor, importing)


def _sightings_alike(
    session: Session,
    vectors: Vectors,
    keyring: Keyring,
    target: Target,
    references: Sequence[Reference],
    model: TemplateModel,
) -> set[str]:
    """Ids of all sightings in Milvus that an alert could have come from."""
    size = sizes(session, [target.watchlist_id])[target.watchlist_id]
    least = thresholds(target.watchlist, size, model.calibration).possible
    alike = set[str]()
    for reference in references:
        template = unpack(reference.template, keyring, reference_place(reference.id))
        hits = vectors.search_sightings(reference.model, template[None], SEARCHED)[0]
        alike |= {hit.id for hit in hits if hit.score >= least}
    return alike


def _existing(session: Session, ids: set[str]) -> Iterable[str]:
    for chunk in chunks(sorted(ids)):
        yield from session.scalars(select(Sighting.id).where(Sighting.id.in_(chunk)))


def _of_others(session: Session, sightings: set[str], target_id: str) -> set[str]:
    """Those that are part of an alert of another target, whom nobody said they are not."""
    kept = set[str]()
    for chunk in chunks(sorted(sightings)):
        kept |= set(
            session.scalars(
                select(AlertSighting.sighting_id)
                .join(Alert, Alert.id == AlertSighting.alert_id)
                .where(AlertSighting.sighting_id.in_(chunk), Alert.target_id != target_id, Alert.verdict != "rejected")
            )
        )
    return kept


def _empty_alerts(session: Session, actor: Actor, alerts: Sequence[Alert]) -> int:
    """Take pictures and deliveries from the target's alerts; returns how many deliveries went."""
    now = now_us()
    deliveries = 0
    for alert in alerts:
        # A person's right goes before what others still wanted with the alert.
        release(session, actor, alert, "the target was erased")
        alert.crop_id = alert.reference_id = alert.frame_blob = alert.frame_box = None
        alert.candidates = []
        alert.closed_at_us = alert.closed_at_us or now
        session.execute(delete(AlertSighting).where(AlertSighting.alert_id == alert.id))
        sent = session.scalars(select(Delivery).where(Delivery.alert_id == alert.id)).all()
        for delivery in sent:
            session.delete(delivery)
        deliveries += len(sent)
        event(session, alert.id, "erased")
    session.flush()
    return deliveries


def _empty_target(session: Session, target: Target) -> None:
    session.execute(delete(Reference).where(Reference.target_id == target.id))
    session.execute(delete(RejectedPair).where(RejectedPair.target_id == target.id))
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.answer["id"].as_string() == target.id))
    session.execute(update(ImportItem).where(ImportItem.target_id == target.id).values(person="", file=""))
    session.merge(IndexRemoval(target_id=target.id))
    target.name = f"erased {target.id}"
    target.reference_number = target.note = ""
    target.template = target.model = None
    target.indexed = False
    target.erased_at_us = now_us()
    target.version += 1
