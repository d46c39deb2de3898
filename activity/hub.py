"""Hub: one subscription to the bus per event loop, delivered to all its sockets in the order of the log.

`position` is the last event that was queued for the sockets. Messages that follow a later event are buffered until the
missing ones arrive or are read from the log.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, NoReturn, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.conf import settings
from django.db.models import QuerySet
from prometheus_client import Counter, Gauge

from activity import bus, pages
from activity.events import is_at, last_rebuild, latest_seq
from activity.listeners import BEATS, CANVASES, Audience, Listener
from activity.models import StructureEvent
from activity.outbox import NOT_ALLOWED, START_OVER, TRY_AGAIN, Chunk, Frame
from activity.single_flight import SingleFlight
from activity.strict_json import json_fragment

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# Frames that arrive within this time are written together.
COALESCE_SECONDS = 0.01
# Concurrent commits may be published in reverse order: a gap causes a poll of the log only after this time.
REORDER_SECONDS = 0.02
POLL_SECONDS = 2.0
RECHECK_SECONDS = 5.0
SUBSCRIBE_SECONDS = 2.0
PAGE = 500
COLUMNS = ("id", "seq", "event_type", "workspace_id", "payload", "created_at")
MAX_BUFFERED = 10_000
# For database queries of single sockets. Polls of the log use another thread and never wait for these.
THREADS = ThreadPoolExecutor(4, "streams")

CONNECTED = Gauge("molecule_stream_sockets", "Open event stream sockets.")
SENT = Counter("molecule_stream_frames", "Messages delivered to sockets.")
CAUGHT_UP = Counter("molecule_stream_caught_up", "Events that the bus lost and that were read from the log.")
RESUBSCRIBED = Counter("molecule_stream_resubscribed", "Silent subscriptions that were renewed.")
POSSIBLY_LOST = Counter(
    "molecule_stream_missed", "Times that transient messages may have been lost and all sockets got STREAM_LIVE."
)


class Restarted(Exception):
    """The hub has restarted, and closed its sockets with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class LogReplaced(Exception):
    """The log does not have our last event at our position: it was restored, or a failover lost events."""


@dataclass
class Hub:
    """The sockets of one event loop, their groups, and the tasks that keep them up to date. See decision 0009."""

    audience: Audience
    subscription: bus.Subscription = field(default_factory=bus.Subscription)
    position: int = 0
    event_id: str | None = None
    listeners: set[Listener] = field(default_factory=set)
    groups: dict[Hashable, set[Listener]] = field(default_factory=dict)
    members: dict[str, set[Listener]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.starting: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.pending: list[Frame] = []
        self.flush_timer: asyncio.TimerHandle | None = None
        self.flushed_at = 0.0
        # A heap, ordered by the position that the frames follow, then by arrival.
        self.buffered: list[tuple[int, int, list[Frame]]] = []
        self.arrivals = count()
        self.revoked: set[str] = set()
        self.notified = asyncio.Event()
        # Queues every event that has committed by now. Raises DatabaseError, Restarted.
        self.poll_log = SingleFlight(self._catch_up)
        # Joins the channel layer's group of heartbeats while a socket wants them.
        self.sync_subscription = SingleFlight(self._sync_subscription)
        self.unsubscribing: asyncio.Task[None] | None = None
        self.restarts = 0
        self.connection = 0
        self.rebuild = 0
        self.may_have_lost = False

    # --- Sockets ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe and load the audience, once. Raises one of bus.UNAVAILABLE_ERRORS without a database."""
        if self.starting is None or (self.starting.done() and not self.tasks):
            self.starting = asyncio.create_task(self._start(), name="start of the hub")
        await asyncio.shield(self.starting)

    def add(self, listener: Listener) -> None:
        """Register a socket, so that it is closed when its credential ends. It receives nothing yet."""
        self.listeners.add(listener)
        CONNECTED.set(len(self.listeners))

    def subscribe(self, listener: Listener) -> bool:
        """Deliver what follows `position` from now on. Returns False if the listener may not receive anything."""
        self.flush()
        groups: tuple[Hashable, ...] | None = listener.groups
        if listener.member is not None:
            groups = self.audience.groups_of(listener.member)
            self.members.setdefault(listener.member, set()).add(listener)
        self._join_groups(listener, groups or ())
        return groups is not None

    def remove(self, listener: Listener) -> None:
        """Unsubscribe and forget a socket that was closed."""
        self.listeners.discard(listener)
        self._leave_groups(listener)
        if listener.member is not None:
            _discard(self.members, listener.member, listener)
        CONNECTED.set(len(self.listeners))

    # --- Messages of the bus ---------------------------------------------------------------------------

    def dispatch(self, message: dict[str, Any]) -> None:
        """Handle a message of the channel layer."""
        match message["type"]:
            case "events":
                self._receive_frames(message["after"], _frames(message))
            case "beats":
                self._deliver_beats(message["beats"])
            case "revoked":
                self.revoked.update(message["credentials"])
                self.notified.set()
            case "rebuilt":
                self.notified.set()
            case "echo":
                self._check_connection(self.subscription.echoed_connection(message))

    def _receive_frames(self, after: int, frames: list[Frame]) -> None:
        """Queue frames that follow the position `after`, or buffer them until that position is reached."""
        if after <= self.position:
            self._enqueue(frames)
            self._release_buffered()
        elif len(self.buffered) < MAX_BUFFERED:
            heapq.heappush(self.buffered, (after, next(self.arrivals), frames))
            asyncio.get_running_loop().call_later(REORDER_SECONDS, self._poll_if_missing, after)
        else:
            self._note_possible_loss()

    def _poll_if_missing(self, after: int) -> None:
        if after > self.position:
            self.notified.set()

    def _release_buffered(self) -> None:
        """Queue buffered frames whose position was reached; events that were read from the log are skipped."""
        while self.buffered and self.buffered[0][0] <= self.position:
            self._enqueue(heapq.heappop(self.buffered)[2])

    def _check_connection(self, connection: int | None) -> None:
        """On a new connection, what was published since the old one broke is lost."""
        if connection not in (None, self.connection):
            self.connection = connection
            self._note_possible_loss()

    def _note_possible_loss(self) -> None:
        """Persisted events are read from the log. Transient messages are lost: STREAM_LIVE tells clients to reload."""
        if not self.may_have_lost:
            self.may_have_lost = True
            POSSIBLY_LOST.inc()
            self.notified.set()

    def _enqueue(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if frame.seq is None:
                self.pending.append(frame)
            elif frame.seq > self.position:
                self.position, self.event_id = frame.seq, frame.id
                self.pending.append(frame)
        if self.pending and self.flush_timer is None:
            wait = self.flushed_at + COALESCE_SECONDS - time.monotonic()
            self.flush_timer = asyncio.get_running_loop().call_later(max(wait, 0), self.flush)

    def _deliver_beats(self, beats: list[bus.Envelope]) -> None:
        if (listeners := self.groups.get(BEATS)) and beats:
            chunk = Chunk([Frame(bus.encode(beat)) for beat in beats])
            _deliver(listeners, chunk)

    # --- Delivery --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Put everything up to `position` into the outboxes. Never waits for a client."""
        if self.flush_timer is not None:
            self.flush_timer.cancel()
            self.flush_timer = None
        frames, self.pending = self.pending, []
        if not frames:
            return
        self.flushed_at = time.monotonic()
        try:
            _deliver(self.groups.get(CANVASES, ()), Chunk(frames))
            self._deliver_to_members(frames)
        except Exception as error:
            self._restart_after(error)

    def _deliver_to_members(self, frames: Sequence[Frame]) -> None:
        due: dict[Listener, list[Frame]] = {}
        gone: list[Listener] = []
        for frame in frames:
            changed = self.audience.fold(frame)
            if not self.members:
                continue
            for listener in self._subscribers(self.audience.groups_for(frame)):
                due.setdefault(listener, []).append(frame)
            if changed and frame.workspace_id is not None:
                gone += self._resubscribe_member(frame.workspace_id)
        chunks: dict[tuple[int, ...], Chunk] = {}
        for listener, own in due.items():
            key = tuple(map(id, own))
            _deliver((listener,), chunks.get(key) or chunks.setdefault(key, Chunk(own)))
        for listener in gone:
            listener.outbox.close(NOT_ALLOWED)

    def _announce_possible_loss(self) -> None:
        self.may_have_lost = False
        subscribed = self.groups.get(CANVASES, set()).union(*self.members.values())
        _deliver(subscribed, self.stream_live())

    def stream_live(self) -> Chunk:
        """STREAM_LIVE: the client is at `position` and should reload the state that it shows."""
        return Chunk([Frame(bus.encode({"event": "STREAM_LIVE", "seq": self.position, "id": self.event_id}))])

    def _subscribers(self, groups: Iterable[Hashable]) -> set[Listener]:
        """The listeners in at least one of the groups."""
        return set().union(*(self.groups.get(group, ()) for group in groups))

    def _resubscribe_member(self, member: str) -> list[Listener]:
        """Update the groups of a member's sockets. Returns those that may no longer receive anything."""
        groups = self.audience.groups_of(member)
        listeners = list(self.members.get(member, ()))
        for listener in listeners:
            self._leave_groups(listener)
            self._join_groups(listener, groups or ())
        return listeners if groups is None else []

    def _join_groups(self, listener: Listener, groups: tuple[Hashable, ...]) -> None:
        listener.groups = groups
        for group in groups:
            self.groups.setdefault(group, set()).add(listener)

    def _leave_groups(self, listener: Listener) -> None:
        for group in listener.groups:
            _discard(self.groups, group, listener)

    # --- The log ---------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        if await database_sync_to_async(last_rebuild)() != self.rebuild:
            self._start_over("the tables were repaired from the log")
        try:
            await self._read_log()
        except LogReplaced:
            self._start_over(f"the log no longer has event {self.event_id} at position {self.position}")

    def _start_over(self, reason: str) -> NoReturn:
        """Close all sockets so that clients load everything again. Raises Restarted."""
        log.warning("%s: all sockets are closed, clients start over", reason)
        self._restart(START_OVER)
        raise Restarted(START_OVER)

    async def _read_log(self) -> None:
        """Queue the events after our position. Raises Restarted, LogReplaced.

        The result of a read during which the hub restarted is dropped: what was loaded since is newer.
        """
        while True:
            restarts = self.restarts
            page, more = await database_sync_to_async(self._read_next)()
            if restarts != self.restarts or not self.tasks:
                raise Restarted(TRY_AGAIN)
            missing = [frame for frame in page if (frame.seq or 0) > self.position]
            CAUGHT_UP.inc(len(missing))
            self._enqueue(missing)
            self._release_buffered()
            if not more:
                return
            self.flush()

    def _read_next(self) -> tuple[list[Frame], bool]:
        """The page after our position, and whether there are more. Raises LogReplaced.

        The check follows the read, so a page of another log is never used.
        """
        position, event_id = self.position, self.event_id
        page = read_page(StructureEvent.objects.filter(seq__gt=position))
        if not is_at(position, event_id):
            raise LogReplaced
        return page

    # --- Tasks -----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Subscribe first, load second: events in between arrive twice, and the second copy is skipped."""
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.renew()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("Redis is unavailable, streams read the log only: %s", error)
        self.connection = self.subscription.connection
        self.rebuild = await database_sync_to_async(last_rebuild)()
        try:
            self.position, self.event_id = await database_sync_to_async(self.audience.load)()
        except BaseException:
            await self._unsubscribe()
            raise
        self.restarts += 1
        self.tasks = [
            self._task(loop)
            for loop in (self._listen, self._poll_regularly, self._maintain_subscription, self._recheck_credentials)
        ]

    def _task(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(loop(), name=f"hub: {loop.__name__}")
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._restart_after(error)

    def _restart_after(self, error: BaseException) -> None:
        """After an internal error, close all sockets rather than leave a gap: clients reconnect to a fresh hub."""
        log.error("hub restarts, all sockets are closed", exc_info=error)
        self._restart(TRY_AGAIN)

    def _restart(self, code: int) -> None:
        """Close all sockets with the code, and load everything again for the next one."""
        for task in self.tasks:
            task.cancel()
        self.restarts += 1
        self.tasks, self.pending, self.buffered = [], [], []
        self.unsubscribing = asyncio.create_task(self._unsubscribe(), name="hub: unsubscribe")
        for listener in self.listeners:
            listener.outbox.close(code)

    async def _unsubscribe(self) -> None:
        """Leave the channel layer, so that unread messages do not pile up."""

        async def leave() -> None:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.leave()

        await self._tolerate_outage(leave)

    async def _listen(self) -> None:
        try:
            while True:
                self.dispatch(await self.subscription.receive())
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("bus connection lost: %s", error)

    async def _poll_regularly(self) -> None:
        """Poll the log when notified, and every POLL_SECONDS while there are sockets."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.notified.wait()
            self.notified.clear()
            await self._tolerate_outage(self._poll_and_close_revoked)

    async def _poll_and_close_revoked(self) -> None:
        """Sockets with a revoked credential get the events before the revocation, then they are closed."""
        revoked, self.revoked = self.revoked, set()
        try:
            if self.listeners or self.buffered:
                await self.poll_log()
            if self.may_have_lost:
                self.flush()
                self._announce_possible_loss()
        finally:
            self.flush()
            for listener in [one for one in self.listeners if one.credential in revoked]:
                listener.outbox.close(NOT_ALLOWED)

    async def _maintain_subscription(self) -> None:
        """Keep the subscription alive and in the right groups. A task of its own, as Redis may hang."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.sync_subscription()
            await self._tolerate_outage(self._renew_if_dead)

    async def _sync_subscription(self) -> None:
        wanted = {bus.BEATS_GROUP} if any(BEATS in one.groups for one in self.listeners) else set()

        async def sync() -> None:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.sync(wanted)

        await self._tolerate_outage(sync)

    async def _renew_if_dead(self) -> None:
        """Renew a subscription that did not receive our last ping, then ping again."""
        if self.listeners:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                if self.tasks[0].done() or not self.subscription.is_alive:
                    await self._renew()
                await self.subscription.ping()

    async def _renew(self) -> None:
        RESUBSCRIBED.inc()
        self.tasks[0].cancel()
        await self.subscription.renew()
        self.tasks[0] = self._task(self._listen)

    async def _recheck_credentials(self) -> None:
        """Revoked tokens close sockets at once; logouts and disabled accounts are not published and are found here."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._tolerate_outage(self._close_unauthorized)

    async def _close_unauthorized(self) -> None:
        if listeners := list(self.listeners):
            for listener in await run_in_thread(self.audience.unauthorized, listeners):
                listener.outbox.close(NOT_ALLOWED)

    async def _tolerate_outage(self, step: Callable[[], Any]) -> None:
        try:
            await step()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("Redis or PostgreSQL is unavailable, streams wait: %s", error)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def current_hub(audience: Callable[[], Audience]) -> Hub:
    """The hub of the running event loop; the first call creates it, with audience()."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _hubs.setdefault(loop, Hub(audience()))


def backlog() -> dict[str, int]:
    """How many sockets this process has, and with sockets how many positions they are behind the log.

    Called by another thread than that of the event loop. The log is read first, so nothing looks behind that is not.
    """
    head = latest_seq()
    sockets = [hub for hub in list(_hubs.values()) if hub.listeners]
    behind = {"behind": max(0, head - min(hub.position for hub in sockets))} if sockets else {}
    return {"sockets": sum(len(hub.listeners) for hub in sockets), **behind}


async def run_in_thread(query: Callable[..., Answer], *arguments: Any) -> Answer:
    """Run a database query of one socket; returns its result."""
    answer: Answer = await database_sync_to_async(query, thread_sensitive=False, executor=THREADS)(*arguments)
    return answer


def read_page(events: QuerySet[StructureEvent]) -> tuple[list[Frame], bool]:
    """The first PAGE events in order of `seq`, fewer if they exceed MAX_REPLAY_BYTES, and whether there are more."""
    page = pages.read(events.order_by("seq"), COLUMNS, limit=PAGE, max_bytes=settings.MAX_REPLAY_BYTES)
    return [_frame_of(**row) for row in page.rows], page.more


def _frame_of(
    id: UUID, seq: int, event_type: str, workspace_id: UUID | None, payload: str | None, created_at: datetime
) -> Frame:
    envelope = bus.envelope(event_type, workspace_id, json_fragment(payload) or {}, seq=seq, id=id, at=created_at)
    return Frame(bus.encode(envelope), seq, event_type, str(workspace_id), str(id))


def _frames(message: dict[str, Any]) -> list[Frame]:
    frames = message["frames"]
    ids = message.get("ids") or [None] * len(frames)  # the previous release sends no ids
    return [Frame(text, seq, event, own, id) for (seq, event, own, text), id in zip(frames, ids, strict=True)]


def _deliver(listeners: Iterable[Listener], chunk: Chunk) -> None:
    count = 0
    for listener in listeners:
        listener.outbox.put(chunk)
        count += 1
    SENT.inc(count * len(chunk.frames))


def _discard(sets: dict[Any, set[Listener]], key: Hashable, listener: Listener) -> None:
    if key in sets:
        sets[key].discard(listener)
        if not sets[key]:
            del sets[key]
