"""EventStream: one socket. It replays events since a position, then follows live, without gaps or repeats."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from activity import bus, strict_json
from activity.events import is_at
from activity.hub import Restarted, current_hub, read_page, run_in_thread
from activity.listeners import BEATS, CANVASES, Audience, Listener
from activity.models import MAX_SEQ, StructureEvent
from activity.outbox import (
    BROKEN,
    MALFORMED,
    NOT_ALLOWED,
    START_OVER,
    TOO_LARGE,
    TOO_MANY,
    TRY_AGAIN,
    WIRE,
    AsgiWire,
    Chunk,
    Frame,
    Outbox,
)
from activity.principals import Kind, Principal

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024
# Messages are parsed on the event loop.
MAX_MESSAGE_VALUES = 100
MAX_MESSAGES = 100
WINDOW_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024


class Refused(Exception):
    """The socket is refused; `code` is its close code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class EventStream:
    """An ASGI application for one socket. Subclasses decide who may listen, and to what."""

    listener: Listener
    outbox: Outbox
    principal: Principal
    scope: dict[str, Any]
    since: int | None = None
    window_began = 0.0
    received = 0

    def identify(self) -> Principal:
        """Authenticate the socket; repeated every RECHECK_SECONDS. Raises Refused."""
        raise NotImplementedError

    def enter(self) -> Principal:
        """Authenticate the handshake. Raises Refused."""
        return self.identify()

    def session(self) -> str | None:
        """The key of the session that opened the socket; None if a token did."""
        return None

    def audience(self) -> Audience:
        """A new audience, for the hub of an event loop."""
        raise NotImplementedError

    async def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a message that is not a ping."""
        return problem('unknown message: send {"type":"ping"}', "invalid")

    @classmethod
    def as_asgi(cls) -> Any:
        """An ASGI application that serves each socket with an instance of this class."""

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await cls().serve(scope, receive, send)

        return application

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket until it disconnects."""
        self.scope = scope
        self.hub = current_hub(self.audience)
        self.registered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await receive()
        self.outbox = Outbox(scope.get("extensions", {}).get(WIRE) or AsgiWire(send), is_open=False)
        opening = asyncio.create_task(self._open(send), name="opening of a socket")
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                await asyncio.wait([self.registered, opening], return_when=asyncio.FIRST_COMPLETED)
                if not self.outbox.closed:
                    await self._on_message((message.get("text") or "").encode() or message.get("bytes") or b"")
        finally:
            opening.cancel()
            if self.registered.done():
                self.hub.remove(self.listener)

    async def _open(self, send: Any) -> None:
        """Accept the handshake only once subscribed, so that a connected client misses nothing. Refused sockets are
        accepted as well: only an accepted socket can be closed with a code."""
        await self._close_on_failure(self._register_in_time)
        with suppress(OSError):  # the client has gone: serve() receives the disconnect
            await send({"type": "websocket.accept"})
        self.outbox.open()
        if self.since is not None and not self.outbox.closed:
            await self._close_on_failure(self._replay_and_subscribe)

    async def _close_on_failure(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except (Refused, Restarted) as refusal:
            self.outbox.close(refusal.code)
        except bus.UNAVAILABLE_ERRORS:
            self.outbox.close(TRY_AGAIN)
        except Exception:
            log.exception("a socket could not be opened")
            self.outbox.close(BROKEN)

    async def _register_in_time(self) -> None:
        async with asyncio.timeout(settings.SOCKET_HANDSHAKE_SECONDS):
            await self._register()

    async def _register(self) -> None:
        """Authenticate, join the hub and bring it up to date. Without `since` the socket is live from here on."""
        self.since, after_id = self._since(), self._after_id()
        self.principal = await run_in_thread(self.enter)
        self.listener = self._listener()
        self.hub.add(self.listener)
        self.registered.set_result(None)
        await self.hub.start()
        if BEATS in self.listener.groups:
            await self.hub.sync_subscription()
        await self.hub.poll_log()
        if self.since is None:
            self._subscribe()
        elif self.since > self.hub.position or not await run_in_thread(is_at, self.since, after_id):
            raise Refused(START_OVER)

    async def _replay_and_subscribe(self) -> None:
        """Send the log up to the hub's position, then subscribe."""
        position = self.since or 0
        while position < self.hub.position:
            position = await self._replay(position, self.hub.position)
        self._subscribe()
        self.outbox.put(self.hub.stream_live())

    def _subscribe(self) -> None:
        if not self.hub.subscribe(self.listener):
            raise Refused(NOT_ALLOWED)

    def _listener(self) -> Listener:
        if self.principal.kind == Kind.WORKSPACE:
            return Listener(self.outbox, self.principal, self.identify, member=str(self.principal.workspace_id))
        groups = (CANVASES, BEATS) if self.query("beats") == "1" else (CANVASES,)
        return Listener(self.outbox, self.principal, self.identify, groups=groups, session=self.session())

    async def _replay(self, position: int, upto: int) -> int:
        """Send a page of the log, as fast as the client reads it. Returns the position that was reached."""
        events = StructureEvent.objects.filter(seq__gt=position, seq__lte=upto)
        page, more = await run_in_thread(self._page, events)
        self.hub.flush()  # so that the audience has applied the log up to here
        for chunk in _chunks(frame for frame in page if self._may_receive(frame)):
            self.outbox.put(chunk)
            await self.outbox.drain()
        last = page[-1].seq if more else None
        return last or upto

    def _page(self, events: QuerySet[StructureEvent]) -> tuple[list[Frame], bool]:
        member = self.listener.member
        if member is None:
            return read_page(events)
        audience = self.hub.audience
        frames, more = read_page(audience.backlog(events, member))
        audience.load_removed({member, *(frame.workspace_id for frame in frames if frame.workspace_id)})
        return frames, more

    def _may_receive(self, frame: Frame) -> bool:
        """Today's permissions count, not those at the time of the event."""
        member = self.listener.member
        if member is None:
            return True
        groups = self.hub.audience.groups_of(member) or ()
        return not set(groups).isdisjoint(self.hub.audience.groups_for(frame))

    async def _on_message(self, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            self.outbox.close(TOO_LARGE)
            return
        if self._exceeds_message_rate():
            self.outbox.close(TOO_MANY)
            return
        try:
            message = strict_json.parse(data, max_values=MAX_MESSAGE_VALUES)
        except strict_json.Malformed as error:
            self.outbox.send_text(bus.encode(problem(str(error), "invalid")))
            return
        if not isinstance(message, dict):
            message = {}
        if message.get("type") == "ping":
            self.outbox.send_text('{"type":"pong"}')
        else:
            self.outbox.send_text(bus.encode(await self.answer(message)))

    def _exceeds_message_rate(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self.window_began > WINDOW_SECONDS:
            self.window_began, self.received = now, 0
        self.received += 1
        return self.received > MAX_MESSAGES

    def _since(self) -> int | None:
        value = self.query("since")
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or int(value) > MAX_SEQ:
            raise Refused(MALFORMED)
        return int(value)

    def _after_id(self) -> UUID | None:
        """The id of the event at `since`, which the client received last; none at position 0."""
        try:
            return UUID(value) if (value := self.query("after_id")) else None
        except ValueError:
            raise Refused(MALFORMED) from None

    def query(self, name: str) -> str | None:
        """One query parameter of the socket's URL."""
        values = parse_qs(self.scope["query_string"].decode("latin-1")).get(name)
        return values[0] if values else None


def _chunks(frames: Iterable[Frame]) -> Iterator[Chunk]:
    """Chunks of about CHUNK_BYTES: the replay waits for a slow client after each."""
    chunk: list[Frame] = []
    size = 0
    for frame in frames:
        chunk.append(frame)
        size += len(frame.data)
        if size >= CHUNK_BYTES:
            yield Chunk(chunk)
            chunk, size = [], 0
    if chunk:
        yield Chunk(chunk)


def problem(error: str, code: str, **more: str) -> dict[str, Any]:
    """An error message as sockets send it."""
    return {"type": "error", "error": error, "code": code, **more}
