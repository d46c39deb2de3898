"""Group commit: the items of many concurrent requests are written by one thread, in one transaction per batch.

While a batch is written the next one gathers, so the cost per item falls as the load grows. An item whose rows another
transaction holds does not delay the others: it is BUSY, and is tried again with later batches.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from django.db import connection
from prometheus_client import Counter, Gauge, Histogram

log = logging.getLogger(__name__)


class Unwritten(Enum):
    """The answer to an item that changed nothing, because another transaction holds the rows that it would change."""

    BUSY = "busy"


BUSY = Unwritten.BUSY
Item = TypeVar("Item")
Answer = TypeVar("Answer")

ACCEPTED = Counter("molecule_group_commit_items", "Items accepted in a batch", ["gate"])
REFUSED = Counter(
    "molecule_group_commit_refused", "Items refused because the queue was full or they waited too long", ["gate"]
)
BUSY_ITEMS = Counter(
    "molecule_group_commit_busy", "Items given up because another transaction held their row for too long", ["gate"]
)
BATCHES = Histogram(
    "molecule_group_commit_batch_size", "Items in one batch", ["gate"], buckets=(1, 4, 16, 64, 256, 1024)
)

WAITING = Gauge("molecule_group_commit_waiting", "Items waiting for the next batch", ["gate"])

# How often expired submissions are refused during max_wait_seconds while a batch is written.
CHECKS_PER_WAIT = 20
# The pause before busy items are tried again, if nothing else is to be written.
RETRY_SECONDS = 0.05


class Overloaded(Exception):
    """The queue is full, or the items have waited in it for too long. They were not written."""


class Unknown(Exception):
    """The items were passed to the database, which has not said whether it committed them."""


@dataclass(eq=False, slots=True)
class Submission(Generic[Item, Answer]):
    """The items of one caller and the future for its answers.

    `unanswered` has the indexes of the items to write in the next batch, and `size` is their size; after the first
    batch they are the busy ones. By the loop's clock, the submission is refused at `deadline` if it still waits for its
    first batch, and its busy items are given up at `busy_deadline`.
    """

    items: Sequence[Item]
    size: int
    result: "asyncio.Future[Sequence[Answer | Unwritten]]"
    deadline: float
    busy_deadline: float
    unanswered: Sequence[int]
    answers: list[Answer | Unwritten] | None = None

    def resolve(self, error: BaseException | None = None) -> None:
        """Answer the caller, unless it has gone. Once there are answers they count, also if a later batch failed."""
        if self.result.done():
            return
        if self.answers is not None:
            self.result.set_result(self.answers)
        elif error is not None:
            self.result.set_exception(error)


class GroupCommit(Generic[Item, Answer]):
    """`flush` gets the items of one batch, in order of arrival, and returns an answer for each: BUSY for those that
    cannot be written now. These are in the next batches too, before newer items, until they are given up.

    `flush` runs in one dedicated thread, so never twice at a time. At most `capacity` items wait, and in addition half
    as many busy ones. A batch takes whole submissions up to `batch` items, at most half of them busy; `size_of` may
    count an item as more than one.

    A caller waits for its first batch at most `max_wait_seconds`, plus the time between two checks (1/CHECKS_PER_WAIT
    of it). Once its items are being written it waits for the outcome, so refused items were never written. After
    `max_write_seconds` the outcome is Unknown. `flush` needs shorter limits of its own, which only a hanging database
    can exceed.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Sequence[Answer | Unwritten]],
        *,
        batch: int,
        capacity: int,
        max_wait_seconds: float = 10.0,
        max_write_seconds: float = 30.0,
        size_of: Callable[[Item], int] = lambda item: 1,
    ) -> None:
        self.size_of = size_of
        self.flush, self.batch, self.capacity = flush, batch, capacity
        self.max_wait_seconds, self.max_write_seconds = max_wait_seconds, max_write_seconds
        self.waiting: deque[Submission[Item, Answer]] = deque()
        self.busy: deque[Submission[Item, Answer]] = deque()
        self.writing: list[Submission[Item, Answer]] = []
        self.size = self.busy_size = 0
        self.writer: asyncio.Task[None] | None = None
        self.arrived = asyncio.Event()
        self.name = name
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"group commit of {name}")
        self.accepted, self.refused, self.batches = ACCEPTED.labels(name), REFUSED.labels(name), BATCHES.labels(name)
        self.given_up = BUSY_ITEMS.labels(name)
        WAITING.labels(name).set_function(lambda: self.size + self.busy_size)

    async def submit(self, items: Sequence[Item], *, busy_seconds: float | None = None) -> Sequence[Answer | Unwritten]:
        """Return the answers, once committed; BUSY for items that could not be written within `busy_seconds`, which is
        `max_wait_seconds` by default. Without items, return when a batch that began after the call was committed.

        Raises Overloaded, Unknown, or the exception of `flush` for the whole batch. If the caller is cancelled while
        its items are being written, it still gets the answers; otherwise the items are never written.
        """
        size = sum(map(self.size_of, items))
        if self.size + size > self.capacity:
            self.refused.inc(size)
            raise Overloaded
        loop = asyncio.get_running_loop()
        now, busy_wait = loop.time(), self.max_wait_seconds if busy_seconds is None else busy_seconds
        submission: Submission[Item, Answer] = Submission(
            items, size, loop.create_future(), now + self.max_wait_seconds, now + busy_wait, range(len(items))
        )
        self.waiting.append(submission)
        self.size += size
        self.arrived.set()
        if self.writer is None or self.writer.done() or self.writer.get_loop() is not loop:
            self.writer = loop.create_task(self._write(), name="group commit")
        try:
            return await submission.result
        except asyncio.CancelledError:
            if submission not in self.writing:
                raise
        submission.result, submission.busy_deadline = loop.create_future(), 0
        return await submission.result

    async def _write(self) -> None:
        self.arrived = asyncio.Event()
        try:
            while self.waiting or self.busy:
                if not self.waiting:
                    await self._pause()
                # One turn of the loop, so that requests that arrive together are in one batch.
                await asyncio.sleep(0)
                self._refuse_expired()
                if submissions := self._next_batch():
                    await self._write_batch(submissions)
        finally:
            self._abandon()

    async def _pause(self) -> None:
        """Wait RETRY_SECONDS, or until a submission arrives."""
        self.arrived.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_SECONDS):
                await self.arrived.wait()

    def _next_batch(self) -> list[Submission[Item, Answer]]:
        """The oldest busy submissions and the next ones, without those whose caller has gone."""
        busy = _pop(self.busy, self.batch // 2)
        self.busy_size -= (busy_size := _size(busy))
        new = _pop(self.waiting, self.batch - busy_size)
        self.size -= _size(new)
        return [submission for submission in busy + new if not submission.result.done()]

    async def _write_batch(self, submissions: list[Submission[Item, Answer]]) -> None:
        items = [submission.items[n] for submission in submissions for n in submission.unanswered]
        self.writing = submissions
        loop = asyncio.get_running_loop()
        unknown_at = loop.time() + self.max_write_seconds
        flushed = loop.run_in_executor(self.thread, self._flush, items)
        while not (await asyncio.wait({flushed}, timeout=self.max_wait_seconds / CHECKS_PER_WAIT))[0]:
            self._refuse_expired()
            if loop.time() > unknown_at:
                _resolve_all(submissions, Unknown())
        self.writing = []
        if error := flushed.exception():
            _resolve_all(submissions, error)
            return
        if items:
            self.batches.observe(_size(submissions))
        self._distribute(submissions, flushed.result())

    def _distribute(self, submissions: list[Submission[Item, Answer]], answers: Sequence[Answer | Unwritten]) -> None:
        """Pass the answers of a batch on. Items that are still unanswered are busy, all others count as accepted."""
        size_before, start = _size(submissions), 0
        for submission in submissions:
            end = start + len(submission.unanswered)
            self._store(submission, answers[start:end])
            start = end
        self.accepted.inc(size_before - _size(submissions))

    def _store(self, submission: Submission[Item, Answer], answers: Sequence[Answer | Unwritten]) -> None:
        """Store the answers to the unanswered items. Answer the caller, or queue the submission as busy."""
        if submission.answers is None:
            submission.answers = list(answers)
        else:
            for n, answer in zip(submission.unanswered, answers, strict=True):
                submission.answers[n] = answer
        if BUSY not in answers:
            submission.unanswered, submission.size = (), 0
            submission.resolve()
            return
        submission.unanswered = [n for n, answer in zip(submission.unanswered, answers, strict=True) if answer is BUSY]
        submission.size = sum(self.size_of(submission.items[n]) for n in submission.unanswered)
        if self.busy_size + submission.size > self.capacity // 2:
            self._give_up(submission)
        else:
            self.busy.append(submission)
            self.busy_size += submission.size

    def _flush(self, items: list[Item]) -> Sequence[Answer | Unwritten]:
        """The thread keeps its database connection between batches; after a failure it opens a new one."""
        try:
            return self.flush(items)
        except Exception:
            connection.close()
            raise

    def _refuse_expired(self) -> None:
        """Refuse submissions that have waited too long for a first batch; give up busy items after their deadline."""
        now = asyncio.get_running_loop().time()
        refused = 0
        while self.waiting and self.waiting[0].deadline <= now:
            expired = self.waiting.popleft()
            refused += expired.size
            expired.resolve(Overloaded())
        if refused:
            self.size -= refused
            self.refused.inc(refused)
            log.warning("group commit of %s is slow: %s items have waited for too long", self.name, refused)
        if given_up := [submission for submission in self.busy if submission.busy_deadline <= now]:
            self.busy = deque(submission for submission in self.busy if submission.busy_deadline > now)
            self.busy_size -= _size(given_up)
            log.warning("group commit of %s: another transaction holds rows of %s items", self.name, _size(given_up))
            for submission in given_up:
                self._give_up(submission)

    def _give_up(self, submission: Submission[Item, Answer]) -> None:
        self.given_up.inc(submission.size)
        submission.resolve()

    def _abandon(self) -> None:
        """Answer every caller, as the event loop ends."""
        _resolve_all(self.writing, Unknown())
        _resolve_all([*self.waiting, *self.busy], Overloaded())
        self.waiting.clear()
        self.busy.clear()
        self.writing, self.size, self.busy_size = [], 0, 0


def _size(submissions: "Sequence[Submission[Item, Answer]] | deque[Submission[Item, Answer]]") -> int:
    return sum(submission.size for submission in submissions)


def _pop(queue: "deque[Submission[Item, Answer]]", max_size: int) -> "list[Submission[Item, Answer]]":
    """Remove and return the first submissions of the queue up to that size, but at least one."""
    popped: list[Submission[Item, Answer]] = []
    while queue and (not popped or max_size >= queue[0].size):
        popped.append(queue.popleft())
        max_size -= popped[-1].size
    return popped


def _resolve_all(submissions: Sequence[Submission[Item, Answer]], error: BaseException) -> None:
    for submission in submissions:
        submission.resolve(error)
