"""Group commit: the items of many concurrent requests are written by one thread, in one transaction per batch.

While a batch is written the next one gathers, so the cost per item falls as the load grows.
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

ACCEPTED = Counter("molecule_group_commit_items", "Items accepted in a batch", ["gate"])
REFUSED = Counter(
    "molecule_group_commit_refused", "Items refused because the queue was full or they waited too long", ["gate"]
)
BATCHES = Histogram(
    "molecule_group_commit_batch_size", "Items in one batch", ["gate"], buckets=(1, 4, 16, 64, 256, 1024)
)

WAITING = Gauge("molecule_group_commit_waiting", "Items waiting for the next batch", ["gate"])

# How often expired submissions are refused during max_wait_seconds while a batch is written.
CHECKS_PER_WAIT = 20


class Overloaded(Exception):
    """The queue is full, or the database took too long. An item that was already being written may still commit."""


@dataclass
class Submission(Generic[Item, Answer]):
    """The items of one caller, the future for its answers, and its deadline by the loop's clock."""

    items: Sequence[Item]
    size: int
    answers: "asyncio.Future[Sequence[Answer]]"
    deadline: float


class GroupCommit(Generic[Item, Answer]):
    """`flush` gets the items of one batch, in order of arrival, and returns an answer for each.

    It runs in one dedicated thread, so never twice at a time. At most `capacity` items wait. A batch takes whole
    submissions up to `batch` items; `size_of` may count an item as more than one. A caller waits at most
    `max_wait_seconds`, plus the time between two checks (1/CHECKS_PER_WAIT of it).
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
        """The answers, once committed. Raises Overloaded, or the exception of `flush` for the whole batch."""
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
            # One turn of the loop, so that requests that arrive together are in one batch.
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
        """The thread keeps its database connection between batches; after a failure it opens a new one."""
        try:
            return self.flush(items)
        except Exception:
            connection.close()
            raise

    def _refuse_expired(self, submissions: deque[Submission[Item, Answer]]) -> int:
        """Refuse submissions whose deadline has passed; they are in order of deadline. Returns their total size."""
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
    """Answer a submission, unless its caller was cancelled or already refused."""
    if submission.answers.done():
        return
    if isinstance(outcome, BaseException):
        submission.answers.set_exception(outcome)
    else:
        submission.answers.set_result(outcome)
