"""What happens to alerts, live, as server-sent events.

One task a process reads new events from SQL while somebody listens, and hands them to a bounded queue for each
listener. A listener that was away says which event it saw last and reads the rest from SQL, so that nothing is left out
and nothing comes twice, also after this process was started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio
from fastapi import FastAPI, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from lookout.accounts.rights import Identity
from lookout.alerts.wall import Happened, events_after, knows_all_after, newest_event
from lookout.errors import UnavailableError
from lookout.stores.registry import Registry
from search.security import identify

log = logging.getLogger(__name__)

#: How often SQL is asked for new events while somebody listens.
POLL_S = 0.2
#: How often again when SQL does not answer.
RETRY_S = 1.0
#: Events read at once.
BATCH = 200
#: Events that may wait for a listener; one that is slower is cut off, comes again, and catches up.
QUEUE = 500
#: Listeners of one process; each is a connection and a queue.
LISTENERS = 200
#: A listener that takes nothing for so long is cut off.
SEND_TIMEOUT_S = 10.0
#: Streams have so long to end by themselves when the server is told to stop.
STOP_S = 1.0
HEARTBEAT_S = 15.0
#: How often is asked whether a listener still may listen.
RIGHTS_S = 60.0

FULL = "as many pages as this process serves are open already; try again later."
MAX_EVENT = 2**63 - 1
LastEventId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_EVENT, description="the last event that was seen")
]
After = Annotated[int | None, Query(ge=0, le=MAX_EVENT, description="the same, for a first connection")]
#: Makes of an event what is sent: its name and data; None: nothing.
Render = Callable[[Happened], tuple[str, str] | None]


class Listener:
    """One who listens: what waits to be sent, and whether that is the end, as it was too slow or the server stops."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Happened | None] = asyncio.Queue(QUEUE)
        self.ended = False

    def offer(self, happened: Happened) -> None:
        """Put an event by."""
        try:
            self.waiting.put_nowait(happened)
        except asyncio.QueueFull:
            self.ended = True

    async def end_at(self, stopping: anyio.Event) -> None:
        """End when the server is told to stop."""
        await stopping.wait()
        self.ended = True
        with contextlib.suppress(asyncio.QueueFull):
            self.waiting.put_nowait(None)


class Hub:
    """Reads events for all listeners of this process; of one event loop."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._listeners: set[Listener] = set()
        self._began = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._last = 0

    @property
    def full(self) -> bool:
        """Whether there are as many listeners as there may be."""
        return len(self._listeners) >= LISTENERS

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """Hear all events that are stored from now on.

        Raises:
            UnavailableError: there are as many listeners as there may be.
        """
        if self.full:
            raise UnavailableError(FULL)
        listener = Listener()
        self._listeners.add(listener)
        try:
            if self._reader is None or self._reader.done():
                self._began = asyncio.Event()
                self._reader = asyncio.create_task(self._read())
            await self._began.wait()
            yield listener
        finally:
            self._listeners.discard(listener)

    async def close(self) -> None:
        """Let go of all listeners and wait until nothing is read from SQL any more."""
        self._listeners.clear()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        while self._listeners:
            try:
                happened = await run_in_threadpool(self._newer)
            except Exception as error:
                # Listeners stay; they get what they miss now as soon as SQL answers.
                log.warning(
                    "events of alerts cannot be read: %s", error, exc_info=not isinstance(error, UnavailableError)
                )
                await asyncio.sleep(RETRY_S)
                continue
            self._began.set()
            for one in happened:
                for listener in self._listeners:
                    listener.offer(one)
            if len(happened) < BATCH:
                await asyncio.sleep(POLL_S)

    def _newer(self) -> list[Happened]:
        with self.registry.reading() as session:
            if not self._began.is_set():
                self._last = newest_event(session)
                return []
            happened = events_after(session, self._last, BATCH)
        if happened:
            self._last = happened[-1].id
        return happened


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """When the service stops, its hub stops first."""
    yield
    await app.state.hub.close()


def hub_of(request: Request) -> Hub:
    """The hub of this process."""
    hub: Hub = request.app.state.hub
    return hub


class Stream(EventSourceResponse):
    """A stream of server-sent events; it ends by itself when the server is told to stop."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of both sides ends."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("a listener took nothing for %.0f s and was cut off", SEND_TIMEOUT_S)


def stream(request: Request, who: Identity, after: int | None, render: Render) -> Stream:
    """What happens to the alerts that somebody may see.

    Args:
        request: of the listener.
        who: asks; whether they still may is looked up every minute.
        after: the last event that was seen; None: begin now.
        render: makes what is sent of an event.

    Raises:
        UnavailableError: there are as many listeners as there may be.
    """
    hub = hub_of(request)
    if hub.full:
        raise UnavailableError(FULL)
    stopping = anyio.Event()
    return Stream(
        _events(hub, request, who, after, render, stopping),
        ping=0,
        sep="\n",
        send_timeout=SEND_TIMEOUT_S,
        shutdown_event=stopping,
        shutdown_grace_period=STOP_S,
    )


async def _events(
    hub: Hub, request: Request, who: Identity, after: int | None, render: Render, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    # Where SQL does not answer, or there is no room, the stream ends: the listener comes again.
    with contextlib.suppress(UnavailableError):
        async with hub.listening() as listener:
            # First listening, then reading what was missed: whatever is stored meanwhile is in one of both.
            last, known = await run_in_threadpool(_begin, hub.registry, after)
            yield _event(last, "ready" if known else "reload", "{}")
            complete = False
            while not complete:
                page, newest, complete = await run_in_threadpool(_missed, hub.registry, last, who)
                for happened in page:
                    if sent := render(happened):
                        yield _event(happened.id, *sent)
                last = newest
            end = asyncio.create_task(listener.end_at(stopping))
            try:
                async for sent_event in _live(listener, request, who, last, render):
                    yield sent_event
            finally:
                end.cancel()


async def _live(
    listener: Listener, request: Request, who: Identity, last: int, render: Render
) -> AsyncIterator[ServerSentEvent]:
    check_at = time.monotonic() + RIGHTS_S
    while not listener.ended:
        try:
            happened = await asyncio.wait_for(listener.waiting.get(), HEARTBEAT_S)
        except TimeoutError:
            happened = None
            # With the number, so that whoever comes again after a long silence has not much to read.
            yield ServerSentEvent(id=str(last), comment="still here", sep="\n")
        if time.monotonic() >= check_at:
            known = await run_in_threadpool(identify, request)
            if known is None or not known.may("alerts:read"):
                return
            who, check_at = known, time.monotonic() + RIGHTS_S
        if happened is None or happened.id <= last:
            continue
        alert = happened.card.alert
        seen = who.sees_watchlist(alert.target.watchlist_id) and who.sees_group(alert.camera_group)
        if seen and (sent := render(happened)):
            yield _event(happened.id, *sent)
        last = happened.id


def _begin(registry: Registry, after: int | None) -> tuple[int, bool]:
    """From which event on to send, and whether all that the listener missed is still there."""
    with registry.reading() as session:
        if after is not None and knows_all_after(session, after):
            return after, True
        return newest_event(session), after is None


def _missed(registry: Registry, last: int, who: Identity) -> tuple[list[Happened], int, bool]:
    """The next events after the last one, up to which number that is all of them, and whether none come after it."""
    with registry.reading() as session:
        newest = newest_event(session)
        page = events_after(session, last, BATCH, who)
    if len(page) == BATCH:
        return page, page[-1].id, False
    # Also past those that are not theirs to see.
    return page, max(newest, page[-1].id) if page else newest, True


def _event(number: int, name: str, data: str) -> ServerSentEvent:
    return ServerSentEvent(data, id=str(number), event=name, sep="\n")
