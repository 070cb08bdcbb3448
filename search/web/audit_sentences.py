"""What an entry of the audit log tells, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lookout.stores.registry.tables import AuditEntry

#: By action; `%(thing)s` is the name or id of what it was done to. Translated where they are shown.
SENTENCES = {
    "alert.closed": "%(actor)s closed alert %(thing)s",
    "alert.confirmed": "%(actor)s confirmed alert %(thing)s",
    "alert.held": "%(actor)s held alert %(thing)s",
    "alert.opened": "%(actor)s opened alert %(thing)s",
    "alert.rejected": "%(actor)s rejected alert %(thing)s",
    "alert.released": "%(actor)s ended the hold of alert %(thing)s",
    "alert.viewed": "%(actor)s looked at alert %(thing)s",
    "audit.exported": "%(actor)s exported the audit log",
    "audit.verified": "%(actor)s verified the audit log",
    "camera.changed": "%(actor)s changed camera %(thing)s",
    "camera.created": "%(actor)s added camera %(thing)s",
    "camera.removed": "%(actor)s removed camera %(thing)s",
    "camera.viewed": "%(actor)s looked at camera %(thing)s",
    "crops.replayed": "%(actor)s sent crops %(thing)s to the workers again",
    "delivery.replayed": "%(actor)s sent delivery %(thing)s again",
    "export.created": "%(actor)s asked for export %(thing)s",
    "export.downloaded": "%(actor)s downloaded export %(thing)s",
    "export.erased": "export %(thing)s was removed, as it showed somebody who was erased",
    "export.expired": "export %(thing)s expired",
    "export.removed": "%(actor)s removed export %(thing)s",
    "footage.played": "%(actor)s played footage %(thing)s",
    "import.cancelled": "%(actor)s cancelled import %(thing)s",
    "import.failed": "import %(thing)s of %(actor)s failed",
    "import.finished": "import %(thing)s of %(actor)s is done",
    "import.started": "%(actor)s started import %(thing)s",
    "link.created": "%(actor)s made a one-time link for %(thing)s",
    "model.calibrated": "%(actor)s calibrated model %(thing)s by this site's passers-by",
    "model.calibration_removed": "%(actor)s went back to the shipped calibration of model %(thing)s",
    "model.switched": "%(actor)s put model %(thing)s to use",
    "password.changed": "%(actor)s changed the own password",
    "password.refused": "%(actor)s gave a wrong old password",
    "password.set": "%(actor)s set a password by the one-time link",
    "retention.swept": "%(actor)s removed what had expired",
    "search.made": "%(actor)s searched sightings for a face",
    "session.begun": "%(actor)s signed in",
    "session.ended": "%(actor)s signed out",
    "session.refused": "%(actor)s was refused at sign-in",
    "sessions.ended": "%(actor)s ended the other sessions",
    "sighting.viewed": "%(actor)s looked at sighting %(thing)s",
    "target.changed": "%(actor)s changed target %(thing)s",
    "target.created": "%(actor)s enrolled target %(thing)s",
    "target.erased": "%(actor)s erased target %(thing)s",
    "target.viewed": "%(actor)s looked at target %(thing)s",
    "token.created": "%(actor)s made token %(thing)s",
    "token.revoked": "%(actor)s revoked token %(thing)s",
    "user.changed": "%(actor)s changed user %(thing)s",
    "user.created": "%(actor)s added user %(thing)s",
    "user.unlocked": "%(actor)s unlocked user %(thing)s",
    "video.cancelled": "%(actor)s cancelled video %(thing)s",
    "video.failed": "video %(thing)s of %(actor)s cannot be searched",
    "video.handed_in": "%(actor)s handed in video %(thing)s",
    "video.indexed": "video %(thing)s of %(actor)s was searched",
    "video.indexing": "search of video %(thing)s of %(actor)s began",
    "video.resumed": "%(actor)s handed in video %(thing)s again",
    "wall.opened": "%(actor)s opened the alert wall",
    "watchlist.archived": "%(actor)s archived watchlist %(thing)s",
    "watchlist.changed": "%(actor)s changed watchlist %(thing)s",
    "watchlist.created": "%(actor)s made watchlist %(thing)s",
    "watchlist.exported": "%(actor)s exported watchlist %(thing)s",
    "watchlist.restored": "%(actor)s restored watchlist %(thing)s",
}
#: For actions that are not above: their words as they are.
OTHER = "%(actor)s: %(verb)s %(noun)s %(thing)s"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text of `gettext`, and what is put into it."""

    text: str
    values: Mapping[str, str]


def sentence(entry: AuditEntry, names: Mapping[tuple[str, str], str]) -> Sentence:
    """What an entry tells; `names` are those of things, by kind and id."""
    noun, _, verb = entry.action.partition(".")
    thing = names.get((entry.subject, entry.subject_id), short(entry.subject_id))
    values = {"actor": entry.actor, "verb": verb, "noun": noun, "thing": thing}
    return Sentence(SENTENCES.get(entry.action, OTHER), values)


def short(some_id: str) -> str:
    """As much of a random id as tells it from others; names given by people are as they are."""
    is_random = len(some_id) == 32 and all(digit in "0123456789abcdef" for digit in some_id)
    return some_id[:8] if is_random else some_id
