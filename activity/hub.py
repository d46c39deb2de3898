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
from activity.shared import Shared

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# What comes within so short a time leaves in one write.
PACE_SECONDS = 0.01
# Two commits at once may be published in the other order: only after this long does a gap cost a look at the log.
GRACE_SECONDS = 0.02
LOOK_SECONDS = 2.0
RECHECK_SECONDS = 5.0
SUBSCRIBE_SECONDS = 2.0
PAGE = 500
MAX_HELD = 10_000
# What sockets ask the database for themselves. Looks at the log have another thread and never wait behind it.
THREADS = ThreadPoolExecutor(4, "streams")

CONNECTED = Gauge("molecule_stream_sockets", "Sockets that are being sent events.")
SENT = Counter("molecule_stream_frames", "Messages given to sockets.")
CAUGHT_UP = Counter("molecule_stream_caught_up", "Events that the bus did not bring and that were read from the log.")
RESUBSCRIBED = Counter("molecule_stream_resubscribed", "Subscriptions that had gone silent and were made anew.")
MISSED = Counter("molecule_stream_missed", "Times that messages of no log may have been lost; all sockets were told.")


@dataclass
class Hub:
    audience: Audience
    subscription: bus.Subscription = field(default_factory=bus.Subscription)
    position: int = 0
    listeners: set[Listener] = field(default_factory=set)
    groups: dict[Hashable, set[Listener]] = field(default_factory=dict)
    members: dict[str, set[Listener]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.opening: asyncio.Task[None] | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.pending: list[Frame] = []
        self.flushing: asyncio.TimerHandle | None = None
        self.flushed_at = 0.0
        # A heap: by the position that each waits for, then as they came.
        self.held: list[tuple[int, int, list[Frame]]] = []
        self.numbers = count()
        self.revoked: set[str] = set()
        self.wake = asyncio.Event()
        self.look = Shared(self._read_log)  # give out everything that has committed by now
        self.tune = Shared(self._tune)  # hear beats, if somebody wants them
        self.connection = 0
        self.has_missed = False

    # --- Sockets ---------------------------------------------------------------------------------------

    async def opened(self) -> None:
        """Subscribed and at a position. Raises one of bus.AWAY when the database is away."""
        if self.opening is None or (self.opening.done() and not self.tasks):
            self.opening = asyncio.create_task(self._open(), name="opening of the hub")
        await asyncio.shield(self.opening)

    def enter(self, listener: Listener) -> None:
        """It is known: when its credential ends, so does its socket. It hears nothing yet."""
        self.listeners.add(listener)
        CONNECTED.set(len(self.listeners))

    def attach(self, listener: Listener) -> bool:
        """From now on it hears what comes after `position`; False when it may hear nothing."""
        self.flush()
        groups: tuple[Hashable, ...] | None = listener.groups
        if listener.member is not None:
            groups = self.audience.groups_of(listener.member)
            self.members.setdefault(listener.member, set()).add(listener)
        self._seat(listener, groups or ())
        return groups is not None

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        self._unseat(listener)
        if listener.member is not None:
            _discard(self.members, listener.member, listener)
        CONNECTED.set(len(self.listeners))

    # --- What the bus brings ---------------------------------------------------------------------------

    def hear(self, message: dict[str, Any]) -> None:
        """A message from the channel layer."""
        match message["type"]:
            case "events":
                self._take(message["after"], [_frame(*values) for values in message["frames"]])
            case "beats":
                self._give_beats(message["beats"])
            case "revoked":
                self.revoked.update(message["credentials"])
                self.wake.set()
            case "echo":
                self._compare(self.subscription.echoed(message))

    def _take(self, after: int, frames: list[Frame]) -> None:
        """Frames that come after a position: now, or when we have got there."""
        if after <= self.position:
            self._queue(frames)
            self._release()
        elif len(self.held) < MAX_HELD:
            heapq.heappush(self.held, (after, next(self.numbers), frames))
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._wait_no_longer, after)
        else:
            self._miss()

    def _wait_no_longer(self, after: int) -> None:
        if after > self.position:
            self.wake.set()

    def _release(self) -> None:
        """What was held for a position that has come; whatever the log had meanwhile is passed over."""
        while self.held and self.held[0][0] <= self.position:
            self._queue(heapq.heappop(self.held)[2])

    def _compare(self, connection: int | None) -> None:
        """Between two connections something may have been published."""
        if connection not in (None, self.connection):
            self.connection = connection
            self._miss()

    def _miss(self) -> None:
        """The log gives back what it has. Of the rest nobody knows: everybody is told to read once more."""
        if not self.has_missed:
            self.has_missed = True
            MISSED.inc()
            self.wake.set()

    def _queue(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if frame.seq is None:
                self.pending.append(frame)
            elif frame.seq > self.position:
                self.position = frame.seq
                self.pending.append(frame)
        if self.pending and self.flushing is None:
            wait = self.flushed_at + PACE_SECONDS - time.monotonic()
            self.flushing = asyncio.get_running_loop().call_later(max(wait, 0), self.flush)

    def _give_beats(self, beats: list[bus.Envelope]) -> None:
        if (listeners := self.groups.get(BEATS)) and beats:
            chunk = Chunk([Frame(bus.encode(beat)) for beat in beats])
            _give(listeners, chunk)

    # --- Giving it out ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything up to `position` into the outboxes; nothing here waits for a client."""
        if self.flushing is not None:
            self.flushing.cancel()
            self.flushing = None
        frames, self.pending = self.pending, []
        if not frames:
            return
        self.flushed_at = time.monotonic()
        try:
            _give(self.groups.get(CANVASES, ()), Chunk(frames))
            self._give_members(frames)
        except Exception as error:
            self._start_over(error)

    def _give_members(self, frames: Sequence[Frame]) -> None:
        due: dict[Listener, list[Frame]] = {}
        gone: list[Listener] = []
        for frame in frames:
            changed = self.audience.fold(frame)
            if not self.members:
                continue
            for listener in self._hearing(self.audience.groups_for(frame)):
                due.setdefault(listener, []).append(frame)
            if changed and frame.workspace_id is not None:
                gone += self._reseat(frame.workspace_id)
        chunks: dict[tuple[int, ...], Chunk] = {}
        for listener, own in due.items():
            key = tuple(map(id, own))
            _give((listener,), chunks.get(key) or chunks.setdefault(key, Chunk(own)))
        for listener in gone:
            listener.outbox.close(NOT_ALLOWED)

    def _tell_of_missed(self) -> None:
        self.has_missed = False
        seated = self.groups.get(CANVASES, set()).union(*self.members.values())
        _give(seated, live(self.position))

    def _hearing(self, groups: Iterable[Hashable]) -> set[Listener]:
        """Each once, however many of the groups it is in."""
        return set().union(*(self.groups.get(group, ()) for group in groups))

    def _reseat(self, member: str) -> list[Listener]:
        """The member's sockets hear other groups from here on; returns those that hear nothing any more."""
        groups = self.audience.groups_of(member)
        listeners = list(self.members.get(member, ()))
        for listener in listeners:
            self._unseat(listener)
            self._seat(listener, groups or ())
        return listeners if groups is None else []

    def _seat(self, listener: Listener, groups: tuple[Hashable, ...]) -> None:
        listener.groups = groups
        for group in groups:
            self.groups.setdefault(group, set()).add(listener)

    def _unseat(self, listener: Listener) -> None:
        for group in listener.groups:
            _discard(self.groups, group, listener)

    # --- The log ---------------------------------------------------------------------------------------

    async def _read_log(self) -> None:
        while True:
            page = await database_sync_to_async(read_page)(StructureEvent.objects.filter(seq__gt=self.position))
            missed = [frame for frame in page if (frame.seq or 0) > self.position]
            CAUGHT_UP.inc(len(missed))
            self._queue(missed)
            self._release()
            if len(page) < PAGE:
                return

    # --- Tasks -----------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Subscribed first, loaded second: what falls between is heard and passed over."""
        try:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.renew()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("streams read the log only, until Redis is back: %s", error)
        self.connection = self.subscription.connection
        self.position = await database_sync_to_async(self.audience.load)()
        self.tasks = [self._task(act) for act in (self._listen, self._mind, self._keep, self._check)]

    def _task(self, act: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(act(), name=f"hub: {act.__name__}")
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._start_over(error)

    def _start_over(self, error: BaseException) -> None:
        """Something is wrong with us: nobody is left with a gap. Everybody comes back, to a hub that begins anew."""
        log.error("streams start over", exc_info=error)
        for task in self.tasks:
            task.cancel()
        self.tasks, self.pending, self.held = [], [], []
        for listener in self.listeners:
            listener.outbox.close(TRY_AGAIN)

    async def _listen(self) -> None:
        try:
            while True:
                self.hear(await self.subscription.receive())
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("nothing comes from the bus: %s", error)

    async def _mind(self) -> None:
        """Looks at the log when something is missing, and every LOOK_SECONDS while there are sockets."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.wake.wait()
            self.wake.clear()
            await self._away_is_no_end(self._tend)

    async def _tend(self) -> None:
        """Whoever is shown out hears first what happened before."""
        revoked, self.revoked = self.revoked, set()
        try:
            if self.listeners or self.held:
                await self.look()
            if self.has_missed:
                self.flush()
                self._tell_of_missed()
        finally:
            self.flush()
            for listener in [one for one in self.listeners if one.credential in revoked]:
                listener.outbox.close(NOT_ALLOWED)

    async def _keep(self) -> None:
        """The subscription: to what somebody wants, and alive. Redis may hang, so nothing else waits for this."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.tune()
            await self._away_is_no_end(self._renew_when_dead)

    async def _tune(self) -> None:
        wanted = {bus.BEATS_GROUP} if any(BEATS in one.groups for one in self.listeners) else set()

        async def sync() -> None:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                await self.subscription.sync(wanted)

        await self._away_is_no_end(sync)

    async def _renew_when_dead(self) -> None:
        """A subscription that has not even heard our last call is made anew."""
        if self.listeners:
            async with asyncio.timeout(SUBSCRIBE_SECONDS):
                if self.tasks[0].done() or not self.subscription.is_alive:
                    await self._renew()
                await self.subscription.call()

    async def _renew(self) -> None:
        RESUBSCRIBED.inc()
        self.tasks[0].cancel()
        await self.subscription.renew()
        self.tasks[0] = self._task(self._listen)

    async def _check(self) -> None:
        """Revocations close sockets at once; this sees what nobody announces: a logout, an account switched off."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._away_is_no_end(self._show_out)

    async def _show_out(self) -> None:
        if listeners := list(self.listeners):
            for listener in await in_thread(self.audience.unwelcome, listeners):
                listener.outbox.close(NOT_ALLOWED)

    async def _away_is_no_end(self, act: Callable[[], Any]) -> None:
        try:
            await act()
        except bus.UNAVAILABLE_ERRORS as error:
            log.warning("streams wait for their engines: %s", error)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub_here(audience: Callable[[], Audience]) -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _hubs.setdefault(loop, Hub(audience()))


async def in_thread(ask: Callable[..., Answer], *arguments: Any) -> Answer:
    """What a socket asks the database."""
    answer: Answer = await database_sync_to_async(ask, thread_sensitive=False, executor=THREADS)(*arguments)
    return answer


def live(position: int) -> Chunk:
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


def _give(listeners: Iterable[Listener], chunk: Chunk) -> None:
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
