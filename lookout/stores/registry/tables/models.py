"""Which models are in use, what a site found out about them, and what is made ready for the next one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from lookout.stores.registry.tables.base import Base, new_id
from lookout.stores.registry.tables.sightings import Sighting
from lookout.stores.registry.tables.watchlists import Reference


class ModelChoice(Base):
    """The model that is in use for a role: `detector` or `embedder`. Both rows are always there."""

    __tablename__ = "models_in_use"

    role: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    changed_at_us: Mapped[int]


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


class NextReference(Base):
    """A reference's template by the model that shall be used next. It goes with its reference."""

    __tablename__ = "next_references"

    reference_id: Mapped[str] = mapped_column(ForeignKey(Reference.id, ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    #: Sealed for the place of `Reference.template`, where it will lie.
    template: Mapped[bytes] = mapped_column(LargeBinary)


class NextSighting(Base):
    """A sighting's sum of embeddings by the model that shall be used next. It goes with its sighting."""

    __tablename__ = "next_sightings"

    sighting_id: Mapped[str] = mapped_column(ForeignKey(Sighting.id, ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    #: Sealed for the place of `Sighting.template_sum`, where it will lie.
    template_sum: Mapped[bytes] = mapped_column(LargeBinary)
    #: Of how many crops; one that has more by now is made anew.
    crops: Mapped[int]
