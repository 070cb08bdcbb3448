"""Which detector and which embedder are in use, and what the embedder's scores mean here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.faces.calibration import Calibration
from lookout.faces.models import TemplateModel, load_detector, load_embedder, template_model
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import ModelChoice, SiteCalibration

if TYPE_CHECKING:
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import Embedder

#: How soon a process learns of another choice or calibration.
REFRESH_S = 2.0


@dataclass(frozen=True, slots=True)
class InUse:
    """The models in use.

    Attributes:
        detector: its name in the manifest.
        embedder: what is to be known of it, with the site's own calibration where there is one.
    """

    detector: str
    embedder: TemplateModel

    def load(self, settings: Settings) -> tuple[Detector, Embedder]:
        """Both, loaded, and fetched if need be. Call it after a fork.

        Raises:
            AssetError: one cannot be fetched or loaded.
        """
        return load_detector(settings, self.detector), load_embedder(settings, self.embedder.name)


class ModelSwitchedError(UnavailableError):
    """Another embedder is in use by now than the one that made a template: the same work, done again, uses it."""


def names_in_use(session: Session) -> tuple[str, str]:
    """Names of the detector and the embedder in use."""
    found = {row.role: row.name for row in session.execute(select(ModelChoice.role, ModelChoice.name))}
    return found["detector"], found["embedder"]


def models_in_use(registry: Registry, settings: Settings) -> InUse:
    """The models in use.

    Raises:
        UnavailableError: the registry does not answer.
        NotFoundError: one is in no manifest: whoever chose it took it out of `models.toml`.
    """
    with registry.reading() as session:
        detector, embedder = names_in_use(session)
        return InUse(detector, calibrated(session, template_model(settings, embedder)))


def calibrated(session: Session, model: TemplateModel) -> TemplateModel:
    """An embedder with the site's own calibration, where there is one."""
    latest = (
        select(SiteCalibration.body)
        .where(SiteCalibration.model == model.name)
        .order_by(SiteCalibration.created_at_us.desc())
        .limit(1)
    )
    body = session.scalar(latest)
    # JSON's keys are text.
    return model if body is None else replace(model, calibration=msgspec.convert(body, Calibration, str_keys=True))


def choose_detector(session: Session, actor: Actor, name: str) -> None:
    """Let another detector find faces: ingest learns of it within seconds. Templates are the embedder's business."""
    choice = session.get_one(ModelChoice, "detector", with_for_update=True)
    if choice.name == name:
        return
    detail = {"role": "detector", "before": choice.name}
    choice.name, choice.changed_at_us = name, now_us()
    audit.record(session, actor, "model.switched", "model", name, detail=detail)


def hold_embedder(session: Session, name: str) -> None:
    """Make sure that the embedder which made a template is in use, and stays so until the transaction ends.

    Raises:
        ModelSwitchedError: it is not any more.
    """
    query = select(ModelChoice.name).where(ModelChoice.role == "embedder").with_for_update(read=True)
    if (now := session.scalar(query)) != name:
        raise ModelSwitchedError(f"the embedder {now} has come into use meanwhile, instead of {name}: try again.")


class ModelsInUse:
    """The models in use, looked up again every `REFRESH_S`. Any thread may ask."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry, self._settings = registry, settings
        self._lock = threading.Lock()
        self._known: tuple[float, InUse] | None = None

    def __call__(self) -> InUse:
        """The models, as they were at most `REFRESH_S` ago.

        Raises:
            UnavailableError: the registry does not answer.
        """
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > REFRESH_S:
                self._known = (time.monotonic(), models_in_use(self._registry, self._settings))
            return self._known[1]

    def forget(self) -> None:
        """Look again when somebody asks the next time."""
        with self._lock:
            self._known = None
