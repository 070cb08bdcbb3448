"""Which embedder is in use, and what its scores mean here."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.faces.calibration import Calibration
from lookout.faces.models import TemplateModel, template_model
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import SiteCalibration

#: How soon a process learns of another calibration.
REFRESH_S = 2.0


def model_in_use(session: Session, settings: Settings) -> TemplateModel:
    """The embedder in use, with the site's own calibration where there is one."""
    model = template_model(settings)
    latest = (
        select(SiteCalibration.body)
        .where(SiteCalibration.model == model.name)
        .order_by(SiteCalibration.created_at_us.desc())
        .limit(1)
    )
    body = session.scalar(latest)
    # JSON's keys are text.
    return model if body is None else replace(model, calibration=msgspec.convert(body, Calibration, str_keys=True))


class ModelInUse:
    """The embedder in use, looked up again every `REFRESH_S`. Any thread may ask."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry, self._settings = registry, settings
        self._lock = threading.Lock()
        self._known: tuple[float, TemplateModel] | None = None

    def __call__(self) -> TemplateModel:
        """The embedder, as it was at most `REFRESH_S` ago.

        Raises:
            UnavailableError: the registry does not answer, and never did.
        """
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > REFRESH_S:
                with self._registry.reading() as session:
                    self._known = (time.monotonic(), model_in_use(session, self._settings))
            return self._known[1]
