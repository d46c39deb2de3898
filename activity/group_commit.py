"""Group commit: many callers wait, one thread writes for all of them at once, and then each has its answer.

While one batch is being written the next one gathers, so the busier it gets the less each item costs.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection
from prometheus_client import Counter, Gauge, Histogram

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ACCEPTED = Counter("molecule_group_commit_items", "Items that a batch took", ["gate"])
REFUSED = Counter("molecule_group_commit_refused", "Items refused: too many waited, or for too long", ["gate"])
BATCHES = Histogram(
    "molecule_group_commit_batch_size", "Items in one batch", ["gate"], buckets=(1, 4, 16, 64, 256, 1024)
)

WAITING = Gauge("molecule_group_commit_waiting", "Items that wait for the next batch", ["gate"])


# While a batch is written it is looked so many times within `patience` who has none left.
CHECKS_PER_WAIT = 20


class Overloaded(Exception):
    """Too many wait already, or the database has not answered for too long. Nothing is known to have happened."""


@dataclass
class Submission(Generic[Item, Answer]):
    """What one caller brought, where its answers go, and until when by the loop's clock."""

    items: Sequence[Item]
    size: int
    answers: "asyncio.Future[Sequence[Answer]]"
    deadline: float


class GroupCommit(Generic[Item, Answer]):
    """`flush` gets the items of one batch, in the order they came, and returns an answer for each.

    It runs in one thread of its own, never twice at a time. At most `capacity` items wait; a batch takes
    parcels until it has `batch` items, where an item may `weigh` more than one. Nobody waits longer than
    `patience` seconds and one of LOOKS parts of that.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Sequence[Answer]],
        *,
        batch: int,
        capacity: int,
        max_wait_seconds: float = 10.0,
        size_of: Callable[[Item], int] = lambda item: 1,
    ) -> None:
        self.size_of = size_of
        self.flush, self.batch, self.capacity, self.max_wait_seconds = flush, batch, capacity, max_wait_seconds
        self.waiting: deque[Submission[Item, Answer]] = deque()
        self.size = 0
        self.writer: asyncio.Task[None] | None = None
        self.name = name
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"group commit of {name}")
        self.accepted, self.refused, self.batches = ACCEPTED.labels(name), REFUSED.labels(name), BATCHES.labels(name)
        WAITING.labels(name).set_function(lambda: self.size)

    async def submit(self, items: Sequence[Item]) -> Sequence[Answer]:
        """The answers, once they are committed. Raises Overloaded, or what `flush` raised for the whole batch."""
        size = sum(map(self.size_of, items))
        if self.size + size > self.capacity:
            self.refused.inc(size)
            raise Overloaded
        loop = asyncio.get_running_loop()
        submission: Submission[Item, Answer] = Submission(
            items, size, loop.create_future(), loop.time() + self.max_wait_seconds
        )
        self.waiting.append(submission)
        self.size += size
        if self.writer is None or self.writer.done() or self.writer.get_loop() is not loop:
            self.writer = loop.create_task(self._write(), name="group commit")
        return await submission.answers

    async def _write(self) -> None:
        while self.waiting:
            # One turn of the loop, so that requests which came together go together.
            await asyncio.sleep(0)
            self.size -= self._refuse_expired(self.waiting)
            if submissions := self._next_batch():
                await self._write_batch(submissions)

    def _next_batch(self) -> list[Submission[Item, Answer]]:
        submissions: list[Submission[Item, Answer]] = []
        size = 0
        while self.waiting and (not submissions or size + self.waiting[0].size <= self.batch):
            submissions.append(self.waiting.popleft())
            size += submissions[-1].size
        self.size -= size
        return submissions

    async def _write_batch(self, submissions: list[Submission[Item, Answer]]) -> None:
        items = [item for submission in submissions for item in submission.items]
        flushed = asyncio.get_running_loop().run_in_executor(self.thread, self._flush, items)
        unanswered = deque(submissions)
        while not (await asyncio.wait({flushed}, timeout=self.max_wait_seconds / CHECKS_PER_WAIT))[0]:
            self._refuse_expired(unanswered)
            self.size -= self._refuse_expired(self.waiting)
        if error := flushed.exception():
            for submission in submissions:
                _resolve(submission, error)
            return
        self.accepted.inc(sum(submission.size for submission in unanswered))
        self.batches.observe(sum(submission.size for submission in submissions))
        answers, start = flushed.result(), 0
        for submission in submissions:
            end = start + len(submission.items)
            _resolve(submission, answers[start:end])
            start = end

    def _flush(self, items: list[Item]) -> Sequence[Answer]:
        """The thread keeps its connection from batch to batch; after a failure it takes a fresh one."""
        try:
            return self.flush(items)
        except Exception:
            connection.close()
            raise

    def _refuse_expired(self, submissions: deque[Submission[Item, Answer]]) -> int:
        """Whose deadline has come; they stand in its order. Returns how much they weighed."""
        now, size = asyncio.get_running_loop().time(), 0
        while submissions and submissions[0].deadline <= now:
            expired = submissions.popleft()
            size += expired.size
            _resolve(expired, Overloaded())
        if size:
            self.refused.inc(size)
            log.warning("group commit of %s is slow: %s items have waited for too long", self.name, size)
        return size


def _resolve(submission: Submission[Item, Answer], outcome: Sequence[Answer] | BaseException) -> None:
    """The caller may have gone away meanwhile, or been told to try again."""
    if submission.answers.done():
        return
    if isinstance(outcome, BaseException):
        submission.answers.set_exception(outcome)
    else:
        submission.answers.set_result(outcome)
