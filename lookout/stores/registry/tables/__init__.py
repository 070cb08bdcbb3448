"""The registry's tables. Times are UTC in integer microseconds since 1970; ids are text.

Ids of sightings and crops are derived by ingest, so that writing one twice is seen; the rest are random.
"""

from lookout.stores.registry.tables.accounts import (
    ROLES,
    ApiToken,
    IdempotencyKey,
    OneTimeLink,
    User,
    UserSession,
)
from lookout.stores.registry.tables.alerts import (
    VERDICTS,
    Alert,
    AlertEvent,
    AlertSighting,
    Delivery,
    RejectedPair,
    Verdict,
    Webhook,
)
from lookout.stores.registry.tables.audit import AuditEntry
from lookout.stores.registry.tables.base import Base, new_id
from lookout.stores.registry.tables.cameras import CameraRow
from lookout.stores.registry.tables.footage import Export, Segment, Video
from lookout.stores.registry.tables.models import ModelChoice, NextReference, NextSighting, SiteCalibration
from lookout.stores.registry.tables.sightings import Sighting, StoredCrop
from lookout.stores.registry.tables.watchlists import (
    TIERS,
    Import,
    ImportItem,
    IndexRemoval,
    Reference,
    Target,
    Watchlist,
)

__all__ = [
    "ROLES",
    "TIERS",
    "VERDICTS",
    "Alert",
    "AlertEvent",
    "AlertSighting",
    "ApiToken",
    "AuditEntry",
    "Base",
    "CameraRow",
    "Delivery",
    "Export",
    "IdempotencyKey",
    "Import",
    "ImportItem",
    "IndexRemoval",
    "ModelChoice",
    "NextReference",
    "NextSighting",
    "OneTimeLink",
    "Reference",
    "RejectedPair",
    "Segment",
    "Sighting",
    "SiteCalibration",
    "StoredCrop",
    "Target",
    "User",
    "UserSession",
    "Verdict",
    "Video",
    "Watchlist",
    "Webhook",
    "new_id",
]
