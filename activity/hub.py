"""Hub: what the bus brings to an event loop, once, given to all its sockets in the order of the log.

`position` is how far the sockets have been given the log. Whatever starts later than that waits for what is missing,
which comes a moment later or is read from the log.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.db.models import QuerySet
from prometheus_client import Counter, Gauge

from activity import bus
from activity.events import envelope_of
from activity.models import StructureEvent
from activity.outbox import NOT_ALLOWED, TRY_AGAIN, Chunk, Frame, Outbox
from activity.principals import Principal

log = logging.getLogger(__name__)

# Who hears everything, and who asked for heartbeats as well. An audience has groups of its own besides.
CANVASES = "canvases"
BEATS = "beats"

# What comes within so short a time leaves in one write.
PACE_SECONDS = 0.01
# Two commits at once may be published in the other order: only after this long does a gap cost a look at the log.
GRACE_SECONDS = 0.02
LOOK_SECONDS = 2.0
RECHECK_SECONDS = 5.0
SUBSCRIBE_SECONDS = 2.0
PAGE = 500
MAX_HELD = 10_000

CONNECTED = Gauge("molecule_stream_sockets", "Sockets that are being sent events.")
SENT = Counter("molecule_stream_frames", "Messages given to sockets.")
CAUGHT_UP = Counter("molecule_stream_caught_up", "Events that the bus did not bring and that were read from the log.")
RESUBSCRIBED = Counter("molecule_stream_resubscribed", "Subscriptions that had gone silent and were made anew.")


@dataclass(eq=False)
class Listener:
    """One socket: where it is sent to, who asked for it, and the groups it hears.

    `member`: the workspace whose agent it is, whose groups the audience says. `identify` asks again who they are.
    """

    outbox: Outbox
    principal: Principal
    identify: Callable[[], Principal]
    member: str | None = None
    groups: tuple[Hashable, ...] = ()

    @property
    def credential(self) -> str | None:
        return None if self.principal.token_id is None else str(self.principal.token_id)


class Audience(Protocol):
    """Who hears what besides the canvases: follows the log, event by event, in the hub's order."""

    def load(self) -> int:
        """Read the present from the tables; returns the position it is true for."""

    def fold(self, frame: Frame) -> bool:
        """Take in what a persisted event changes; True when it changes what its workspace hears."""

    def groups_for(self, frame: Frame) -> tuple[Hashable, ...]:
        """Which groups hear it, as things are now."""

    def groups_of(self, member: str) -> tuple[Hashable, ...] | None:
        """Which groups a member hears, as things are now; None: nothing any more."""

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        """Those that a member may hear, or a few more."""

    def unwelcome(self, listeners: Sequence[Listener]) -> list[Listener]:
        """Whose credential is good no more."""


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
        self.held: list[tuple[int, list[Frame]]] = []
        self.revoked: set[str] = set()
        self.wake = asyncio.Event()
        self.looking = asyncio.Lock()
        self.looks = 0

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

    async def look(self) -> None:
        """Give out everything that has committed by now. Those who ask while one looks share the next look."""
        wanted = self.looks + 1
        async with self.looking:
            if self.looks < wanted:
                self.looks += 1
                await self._read_log()

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

    def _take(self, after: int, frames: list[Frame]) -> None:
        """Frames that come after a position: now, or when we have got there."""
        if after <= self.position:
            self._queue(frames)
            self._release()
        elif len(self.held) < MAX_HELD:
            self.held.append((after, frames))
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._miss, after)

    def _miss(self, after: int) -> None:
        if after > self.position:
            self.wake.set()

    def _release(self) -> None:
        """What was held for a position that has come; whatever the log had meanwhile is passed over."""
        while ripe := [batch for batch in self.held if batch[0] <= self.position]:
            self.held = [batch for batch in self.held if batch[0] > self.position]
            for _after, frames in sorted(ripe, key=lambda batch: batch[0]):
                self._queue(frames)

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
        except bus.AWAY as error:
            log.warning("streams read the log only, until Redis is back: %s", error)
        self.position = await database_sync_to_async(self.audience.load)()
        self.tasks = [self._task(act) for act in (self._listen, self._mind, self._check)]

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
        except bus.AWAY as error:
            log.warning("nothing comes from the bus: %s", error)

    async def _mind(self) -> None:
        """Looks at the log when something is missing, and every LOOK_SECONDS while there are sockets."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.wake.wait()
            except TimeoutError:
                await self._away_is_no_end(self._renew_when_dead)
            self.wake.clear()
            await self._away_is_no_end(self._tend)

    async def _tend(self) -> None:
        """Whoever is shown out hears first what happened before."""
        revoked, self.revoked = self.revoked, set()
        try:
            if self.listeners or self.held:
                await self.look()
        finally:
            self.flush()
            for listener in [one for one in self.listeners if one.credential in revoked]:
                listener.outbox.close(NOT_ALLOWED)

    async def _renew_when_dead(self) -> None:
        """A subscription that has not even heard our last call is made anew."""
        if not self.listeners:
            return
        if not self.groups.get(BEATS):
            await self.subscription.leave(bus.BEATS_GROUP)
        if self.tasks[0].done() or not self.subscription.is_alive:
            await self._renew()
        await self.subscription.call()

    async def _renew(self) -> None:
        RESUBSCRIBED.inc()
        self.tasks[0].cancel()
        async with asyncio.timeout(SUBSCRIBE_SECONDS):
            await self.subscription.renew()
        self.tasks[0] = self._task(self._listen)

    async def _check(self) -> None:
        """Revocations close sockets at once; this sees what nobody announces: a logout, an account switched off."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._away_is_no_end(self._show_out)

    async def _show_out(self) -> None:
        if listeners := list(self.listeners):
            for listener in await database_sync_to_async(self.audience.unwelcome)(listeners):
                listener.outbox.close(NOT_ALLOWED)

    async def _away_is_no_end(self, act: Callable[[], Any]) -> None:
        try:
            await act()
        except bus.AWAY as error:
            log.warning("streams wait for their engines: %s", error)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub_here(audience: Callable[[], Audience]) -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _hubs.setdefault(loop, Hub(audience()))


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
