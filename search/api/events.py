"""What happens to alerts, live."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Depends, Request

from lookout.accounts.rights import Identity
from lookout.alerts.wall import Happened
from search import live
from search.api import api_router
from search.security import Allowed

router = api_router(tag="alerts")


@router.get(
    "/alerts/events",
    response_class=live.Stream,
    responses={
        200: {
            "description": "Server-sent events. `event` is `opened`, `updated`, `closed`, `judged` or `erased`, `data` "
            'is JSON: `{"alert": …}` as it is now. `ready` says from where it begins; `reload` says that events '
            "that were missed are gone: read the list again.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        503: {"description": "As many listen as this process serves; or SQL does not answer."},
    },
)
async def alert_events(
    request: Request,
    who: Annotated[Identity, Depends(Allowed("alerts:read"))],
    last_event_id: live.LastEventId = None,
    after: live.After = None,
) -> live.Stream:
    """Events of the alerts you may see, until you go. Send the `id` of the last one to miss none in between."""
    return live.stream(request, who, after if last_event_id is None else last_event_id, _render)


def _render(happened: Happened) -> tuple[str, str]:
    return happened.kind, json.dumps({"alert": happened.card.describe()}, ensure_ascii=False)
