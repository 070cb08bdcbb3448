"""Who is on the watchlists while recordings are evaluated: the people of a folder, or those of this installation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.errors import BadInputError
from lookout.models_in_use import names_in_use
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Base, ModelChoice, Reference, SiteCalibration, Target, Watchlist
from lookout.stores.templates import pack, reference_place, target_place, unpack
from lookout.targets.batches import Line
from lookout.targets.enrolment import Enroller
from lookout.targets.imports import Models, begin_import, run_import
from lookout.targets.sources import open_source
from lookout.watchlists.records import MAX_RETENTION_DAYS, WatchlistFields, create_watchlist
from lookout.watchlists.thresholds import STRANGERS

NAME = "evaluation"


def enrol_people(
    registry: Registry, by: Enroller, models: Models, source: Path, go_on: Callable[[], None]
) -> list[str]:
    """Put the people of a folder on one watchlist with the usual thresholds; returns remarks on photos left out.

    Args:
        registry: where to.
        by: enrols.
        models: look at the photos.
        source: what `lookout targets import` takes.
        go_on: is called now and then; what it raises ends it.

    Raises:
        BadInputError: there is nobody, or no photo of somebody can be enrolled; the message names them.
    """
    with registry.transaction() as session:
        given = WatchlistFields(
            name=NAME, purpose="Evaluation", legal_basis="That of the recordings", retention_days=MAX_RETENTION_DAYS
        )
        import_id = begin_import(session, by.actor, create_watchlist(session, by.actor, given), str(source)).id
    with contextlib.closing(open_source(source)) as opened:
        lines: list[Line] = []
        for some in run_import(registry, by, import_id, opened, models):
            lines += some
            go_on()
    if not lines:
        raise BadInputError(f"{source}: there are no photos; put a folder a person there, named as the person is.")
    enrolled = {line.person for line in lines if line.state == "accepted"}
    if missing := sorted({line.person for line in lines} - enrolled):
        refused = "; ".join(f"{line.file}: {line.message}" for line in lines if line.person in missing)
        raise BadInputError(f"{source}: no photo of {', '.join(missing)} can be enrolled. {refused}")
    return [f"{line.file}: {line.message}" for line in lines if line.state != "accepted" or line.reasons]


def copy_watchlists(session: Session, keyring: Keyring, copy: Session, copy_keyring: Keyring) -> list[str]:
    """Copy the watchlists in use, their people and templates; returns remarks on people who cannot be matched.

    Photos stay where they are. Schedules, validity and snoozes are left out: recordings are of any time.

    Args:
        session: of the installation's registry.
        keyring: opens the templates.
        copy: of the registry that they are copied to.
        copy_keyring: seals them there.

    Raises:
        BadInputError: there is nobody.
        SealError: a template cannot be decrypted.
    """
    _, model = names_in_use(session)
    lists = session.scalars(select(Watchlist).where(Watchlist.archived_at_us.is_(None))).all()
    listed = Target.watchlist_id.in_([one.id for one in lists])
    targets = session.scalars(select(Target).where(listed, Target.erased_at_us.is_(None))).all()
    if not targets:
        raise BadInputError("nobody is on a watchlist: add people first, or name a folder of photos by --people.")
    always = {"valid_from_us": None, "valid_until_us": None, "snoozed_until_us": None, "indexed": False}
    remarks = []
    for one in lists:
        copy.add(_copied(one, schedule=None, retention_days=MAX_RETENTION_DAYS))
    copy.flush()
    for target in targets:
        template = None
        if target.template is not None and target.model == model:
            place = target_place(target.id)
            template = pack(unpack(target.template, keyring, place), copy_keyring, place)
        else:
            remarks.append(f"{target.name} has no photo that can be matched")
        copy.add(_copied(target, **always, template=template))
    copy.flush()
    photos = select(Reference).join(Reference.target).where(listed, Target.erased_at_us.is_(None))
    for photo in session.scalars(photos.where(Reference.model == model)):
        place = reference_place(photo.id)
        template = pack(unpack(photo.template, keyring, place), copy_keyring, place)
        copy.add(_copied(photo, template=template))
    return remarks


def copy_models(session: Session, copy: Session) -> None:
    """Let the models in use be used, and what the site found out of the embedder hold, too."""
    for choice in session.scalars(select(ModelChoice)):
        copy.merge(_copied(choice))
    query = select(SiteCalibration).where(SiteCalibration.model == names_in_use(session)[1])
    latest = session.scalar(query.order_by(SiteCalibration.created_at_us.desc()).limit(1))
    if latest is not None:
        copy.add(_copied(latest))


def people_of(session: Session) -> set[str]:
    """The names of all who are listed."""
    return set(session.scalars(select(Target.name).where(Target.erased_at_us.is_(None))))


def strangers_of(session: Session) -> dict[str, int]:
    """Tier -> of how many strangers one may be reported: what all watchlists state alike, otherwise the default."""
    rows = session.execute(select(Watchlist.possible_strangers, Watchlist.likely_strangers).distinct()).all()
    return dict(zip(STRANGERS, rows[0], strict=True)) if len(rows) == 1 else dict(STRANGERS)


def _copied(row: Base, **changes: Any) -> Base:
    """A row of the same columns, for another registry."""
    columns = {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}
    return type(row)(**{**columns, **changes})
