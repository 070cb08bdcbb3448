"""What a site found out about the models it uses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from lookout.stores.registry.tables.base import Base, new_id


class SiteCalibration(Base):
    """How strangers' scores are distributed on the site's own cameras. The latest of a model holds."""

    __tablename__ = "calibrations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(String(100), index=True)
    #: `lookout.faces.calibration.Calibration` as JSON.
    body: Mapped[dict[str, Any]]
    #: Of how many sightings, in how many comparisons.
    sightings: Mapped[int]
    comparisons: Mapped[int]
    created_by: Mapped[str] = mapped_column(String(100))
    created_at_us: Mapped[int]
