"""Messages to the workers that were given up, and are sent again once their cause is gone."""

from __future__ import annotations

from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.messages import DeadLetter
from lookout.queue import EMBED_CROPS, celery_app
from lookout.settings import Settings
from lookout.stores.crops import Crops
from lookout.stores.dead_letters import DeadLetters


def replay(
    session: Session, actor: Actor, settings: Settings, crops: Crops, letters: DeadLetters, letter: DeadLetter
) -> int:
    """Send a message again; returns how many of its crops had expired meanwhile.

    Raises:
        UnavailableError: Redis does not answer; the letter stays.
    """
    there = crops.renew_deadlines(letter.crop_ids, now_us() + int(settings.crop_deadline_s * 1e6))
    if there:
        celery_app(settings).send_task(EMBED_CROPS, args=[there], retry=False)
    letters.exhume(letter.id)
    lost = len(letter.crop_ids) - len(there)
    detail = {"crops": len(letter.crop_ids), "expired": lost}
    audit.record(session, actor, "crops.replayed", "message", letter.id, detail=detail)
    return lost
