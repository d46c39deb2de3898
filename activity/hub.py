"""Hub: what the bus brings to an event loop, once, given to all its sockets in the order of the log.

`position` is how far the sockets have been given the log. Whatever starts later than that waits for what is missing,
which comes a moment later or is read from the log.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db.models import QuerySet
from prometheus_client import Counter, Gauge

from activity import bus
from activity.events import envelope_of
from activity.listeners import BEATS, CANVASES, Audience, Listener
from activity.models import StructureEvent
from activity.outbox import NOT_ALLOWED, TRY_AGAIN, Chunk, Frame
from activity.single_flight import SingleFlight

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# What comes within so short a time leaves in one write.
COALESCE_SECONDS = 0.01
# Two commits at once may be published in the other order: only after this long does a gap cost a look at the log.
REORDER_SECONDS = 0.02
POLL_SECONDS = 2.0
RECHECK_SECONDS = 5.0
SUBSCRIBE_SECONDS = 2.0
PAGE = 500
MAX_BUFFERED = 10_000
# What sockets ask the database for themselves. Looks at the log have another thread and never wait behind it.
THREADS = ThreadPoolExecutor(4, "streams")

CONNECTED = Gauge("molecule_stream_sockets", "Sockets that are being sent events.")
SENT = Counter("molecule_stream_frames", "Messages given to sockets.")
CAUGHT_UP = Counter("molecule_stream_caught_up", "Events that the bus did not bring and that were read from the log.")
RESUBSCRIBED = Counter("molecule_stream_resubscribed", "Subscriptions that had gone silent and were made anew.")
POSSIBLY_LOST = Counter(
    "molecule_stream_missed", "Times that messages of no log may have been lost; all sockets were told."
)


@dataclass
class Hub:
    audience: Audience
    subscription: bus.Subscription = field(default_factory=bus.Subscription)
    position: int = 0
    listeners: set[Listener] = field(default_factory=set)
    groups: dict[Hashable, set[Listener]] = field(default_factory=dict)
    members: dict[str, set[Listener]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.starting: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.pending: list[Frame] = []
        self.flush_timer: asyncio.TimerHandle | None = None
        self.flushed_at = 0.0
        # A heap: by the position that each waits for, then as they came.
        self.buffered: list[tuple[int, int, list[Frame]]] = []
        self.arrivals = count()
        self.revoked: set[str] = set()
        self.notified = asyncio.Event()
        self.poll_log = SingleFlight(self._read_log)  # give out everything that has committed by now
        self.sync_subscription = SingleFlight(self._sync_subscription)  # hear beats, if somebody wants them
        self.connection = 0
        self.may_have_lost = False

    # --- Sockets ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribed and at a position. Raises one of bus.AWAY when the database is away."""
        if self.starting is None or (self.starting.done() and not self.tasks):
            self.starting = asyncio.create_task(self._start(), name="start of the hub")
        await asyncio.shield(self.starting)

    def add(self, listener: Listener) -> None:
        """It is known: when its credential ends, so does its socket. It hears nothing yet."""
        self.listeners.add(listener)
        CONNECTED.set(len(self.listeners))

    def subscribe(self, listener: Listener) -> bool:
        """From now on it hears what comes after `position`; False when it may hear nothing."""
        self.flush()
        groups: tuple[Hashable, ...] | None = listener.groups
        if listener.member is not None:
            groups = self.audience.groups_of(listener.member)
            self.members.setdefault(listener.member, set()).add(listener)
        self._join_groups(listener, groups or ())
        return groups is not None

    def remove(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        self._leave_groups(listener)
        if listener.member is not None:
            _discard(self.members, listener.member, listener)
        CONNECTED.set(len(self.listeners))

    # --- What the bus brings ---------------------------------------------------------------------------

    def dispatch(self, message: dict[str, Any]) -> None:
        """A message from the channel layer."""
        match message["type"]:
            case "events":
                self._receive_frames(message["after"], [_frame(*values) for values in message["frames"]])
            case "beats":
                self._deliver_beats(message["beats"])
            case "revoked":
                self.revoked.update(message["credentials"])
                self.notified.set()
            case "echo":
                self._check_connection(self.subscription.echoed_connection(message))

    def _receive_frames(self, after: int, frames: list[Frame]) -> None:
        """Frames that come after a position: now, or when we have got there."""
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
        """What was held for a position that has come; whatever the log had meanwhile is passed over."""
        while self.buffered and self.buffered[0][0] <= self.position:
            self._enqueue(heapq.heappop(self.buffered)[2])

    def _check_connection(self, connection: int | None) -> None:
        """Between two connections something may have been published."""
        if connection not in (None, self.connection):
            self.connection = connection
            self._note_possible_loss()

    def _note_possible_loss(self) -> None:
        """The log gives back what it has. Of the rest nobody knows: everybody is told to read once more."""
        if not self.may_have_lost:
            self.may_have_lost = True
            POSSIBLY_LOST.inc()
            self.notified.set()

    def _enqueue(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if frame.seq is None:
                self.pending.append(frame)
            elif frame.seq > self.position:
                self.position = frame.seq
                self.pending.append(frame)
        if self.pending and self.flush_timer is None:
            wait = self.flushed_at + COALESCE_SECONDS - time.monotonic()
            self.flush_timer = asyncio.get_running_loop().call_later(max(wait, 0), self.flush)

    def _deliver_beats(self, beats: list[bus.Envelope]) -> None:
        if (listeners := self.groups.get(BEATS)) and beats:
            chunk = Chunk([Frame(bus.encode(beat)) for beat in beats])
            _deliver(listeners, chunk)

    # --- Giving it out ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything up to `position` into the outboxes; nothing here waits for a client."""
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
            self._restart(error)

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
        seated = self.groups.get(CANVASES, set()).union(*self.members.values())
        _deliver(seated, stream_live(self.position))

    def _subscribers(self, groups: Iterable[Hashable]) -> set[Listener]:
        """Each once, however many of the groups it is in."""
        return set().union(*(self.groups.get(group, ()) for group in groups))

    def _resubscribe_member(self, member: str) -> list[Listener]:
        """The member's sockets hear other groups from here on; returns those that hear nothing any more."""
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

    async def _read_log(self) -> None:
        while True:
            page = await database_sync_to_async(read_page)(StructureEvent.objects.filter(seq__gt=self.position))
            missed = [frame for frame in page if (frame.seq or 0) > self.position]
            CAUGHT_UP.inc(len(missed))
            self._enqueue(missed)
            self._release_buffered()
            if len(page) < PAGE:
                return

    # --- Tasks -----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """Subscribed first, loaded second: what falls between is heard and passed over."""
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.renew()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("Redis is unavailable, streams read the log only: %s", error)
        self.connection = self.subscription.connection
        self.position = await database_sync_to_async(self.audience.load)()
        self.tasks = [
            self._task(act)
            for act in (self._listen, self._poll_regularly, self._maintain_subscription, self._recheck_credentials)
        ]

    def _task(self, act: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(act(), name=f"hub: {act.__name__}")
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._restart(error)

    def _restart(self, error: BaseException) -> None:
        """Something is wrong with us: nobody is left with a gap. Everybody comes back, to a hub that begins anew."""
        log.error("hub restarts, all sockets are closed", exc_info=error)
        for task in self.tasks:
            task.cancel()
        self.tasks, self.pending, self.buffered = [], [], []
        for listener in self.listeners:
            listener.outbox.close(TRY_AGAIN)

    async def _listen(self) -> None:
        try:
            while True:
                self.dispatch(await self.subscription.receive())
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("bus connection lost: %s", error)

    async def _poll_regularly(self) -> None:
        """Looks at the log when something is missing, and every POLL_SECONDS while there are sockets."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.notified.wait()
            self.notified.clear()
            await self._tolerate_outage(self._poll_and_close_revoked)

    async def _poll_and_close_revoked(self) -> None:
        """Whoever is shown out hears first what happened before."""
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
        """The subscription: to what somebody wants, and alive. Redis may hang, so nothing else waits for this."""
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
        """A subscription that has not even heard our last call is made anew."""
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
        """Revocations close sockets at once; this sees what nobody announces: a logout, an account switched off."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._tolerate_outage(self._close_unauthorized)

    async def _close_unauthorized(self) -> None:
        if listeners := list(self.listeners):
            for listener in await run_in_thread(self.audience.unauthorized, listeners):
                listener.outbox.close(NOT_ALLOWED)

    async def _tolerate_outage(self, act: Callable[[], Any]) -> None:
        try:
            await act()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("Redis or PostgreSQL is unavailable, streams wait: %s", error)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def current_hub(audience: Callable[[], Audience]) -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _hubs.setdefault(loop, Hub(audience()))


async def run_in_thread(ask: Callable[..., Answer], *arguments: Any) -> Answer:
    """What a socket asks the database."""
    answer: Answer = await database_sync_to_async(ask, thread_sensitive=False, executor=THREADS)(*arguments)
    return answer


def stream_live(position: int) -> Chunk:
    """Tells a client to read once more what it shows."""
    return Chunk([Frame(bus.encode({"event": "STREAM_LIVE", "seq": position}))])


def read_page(events: QuerySet[StructureEvent]) -> list[Frame]:
    """The first PAGE of them, in order."""
    return [
        _frame(row.seq, row.event_type, str(row.workspace_id), bus.encode(envelope_of(row)))
        for row in events.order_by("seq")[:PAGE]
    ]


def _frame(seq: int | None, event: str, workspace_id: str | None, text: str) -> Frame:
    return Frame(text, seq, event, workspace_id)


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
