"""Group commit: one batch at a time, an answer per item, bounds on how many wait and for how long."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from activity.group_commit import BUSY, RETRY_SECONDS, GroupCommit, Overloaded, Unknown, Unwritten

PATIENCE_SECONDS = 20.0


class Ledger:
    """A flush that tests can block; `batches` is what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.entered.set()
        self.open.wait()
        self.batches.append(items)
        if any(item < 0 for item in items):
            raise ValueError("a negative one")
        return [item * 10 for item in items]


async def entered(ledger: Ledger) -> None:
    await asyncio.to_thread(ledger.entered.wait)


async def test_every_caller_gets_the_answers_to_its_items() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=7, capacity=1000)
    answers = await asyncio.gather(*(commits.submit([n, n + 1000]) for n in range(100)))
    assert [list(each) for each in answers] == [[n * 10, (n + 1000) * 10] for n in range(100)]
    assert max(map(len, ledger.batches)) <= 7
    assert len(ledger.batches) < 100, "every submission was a batch of its own"


async def test_items_that_arrive_during_a_batch_form_the_next_one() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1000, capacity=1000)
    ledger.open.clear()
    first = asyncio.create_task(commits.submit([0]))
    await entered(ledger)
    others = [asyncio.create_task(commits.submit([n])) for n in range(1, 50)]
    await asyncio.sleep(0)
    ledger.open.set()
    await asyncio.gather(first, *others)
    assert ledger.batches == [[0], list(range(1, 50))]


async def test_a_full_queue_refuses_at_once_and_writes_nothing() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=3)
    ledger.open.clear()
    writing = asyncio.create_task(commits.submit([0]))
    await entered(ledger)
    waiting = [asyncio.create_task(commits.submit([n])) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await commits.submit([4])
    ledger.open.set()
    await asyncio.gather(writing, *waiting)
    assert ledger.batches == [[0], [1, 2, 3]]
    assert list(await commits.submit([5])) == [50], "there is room again"


async def test_a_failing_batch_fails_only_its_own_callers() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10)
    outcomes = await asyncio.gather(
        commits.submit([1]), commits.submit([-1]), commits.submit([2]), return_exceptions=True
    )
    assert [list(outcomes[0]), list(outcomes[2])] == [[10], [20]]  # type: ignore[arg-type]
    assert isinstance(outcomes[1], ValueError)


async def test_only_callers_whose_items_are_not_being_written_are_refused_while_the_database_hangs() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10, max_wait_seconds=0.05)
    ledger.open.clear()
    written, *stuck = [asyncio.create_task(commits.submit([n])) for n in range(3)]
    outcomes = await asyncio.wait_for(asyncio.gather(*stuck, return_exceptions=True), PATIENCE_SECONDS)
    assert [type(outcome) for outcome in outcomes] == [Overloaded] * 2
    assert not written.done(), "it was answered before its outcome was known"
    ledger.open.set()
    assert list(await written) == [0]
    assert list(await commits.submit([7])) == [70]
    assert ledger.batches == [[0], [7]], "a refused item was written"


async def test_waiting_behind_several_slow_batches_is_bounded_too() -> None:
    """Each batch is in time, but the last one's turn would come too late."""
    ledger = Ledger()

    def slowly(items: list[int]) -> Sequence[int]:
        time.sleep(0.3)
        return ledger(items)

    commits = GroupCommit("test", slowly, batch=1, capacity=10, max_wait_seconds=0.5)
    outcomes = await asyncio.gather(*(commits.submit([n]) for n in range(6)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[2:]] == [Overloaded] * 4
    assert commits.size == 0
    assert list(await commits.submit([7])) == [70]
    assert ledger.batches in ([[0], [1], [7]], [[0], [7]]), "an item that was refused before its turn was written"


async def test_refused_items_do_not_count_as_accepted() -> None:
    ledger = Ledger()
    commits = GroupCommit("counted", ledger, batch=1, capacity=10, max_wait_seconds=0.05)
    ledger.open.clear()
    writing = asyncio.create_task(commits.submit([1]))
    await entered(ledger)
    with pytest.raises(Overloaded):
        await commits.submit([2])
    ledger.open.set()
    await writing
    assert [counted("items"), counted("refused")] == [1, 1]


def counted(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"molecule_group_commit_{name}_total", {"gate": "counted"})


async def test_a_cancelled_caller_does_not_affect_others() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=10)
    ledger.open.clear()
    gone, stays = asyncio.create_task(commits.submit([1])), asyncio.create_task(commits.submit([2]))
    await entered(ledger)
    gone.cancel()
    ledger.open.set()
    assert list(await stays) == [20]


async def test_a_cancelled_caller_whose_items_are_being_written_learns_their_outcome() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10)
    ledger.open.clear()
    writing, waiting = asyncio.create_task(commits.submit([1])), asyncio.create_task(commits.submit([2]))
    await entered(ledger)
    for task in (writing, waiting):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ledger.open.set()
    assert list(await writing) == [10]
    await commits.submit([3])
    assert ledger.batches == [[1], [3]], "the item of a caller that had gone was written"


async def test_an_outcome_that_the_database_withholds_is_unknown() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10, max_wait_seconds=0.1, max_write_seconds=0.1)
    ledger.open.clear()
    with pytest.raises(Unknown):
        await commits.submit([1])
    ledger.open.set()
    assert list(await commits.submit([2])) == [20]


class Held:
    """A flush that cannot write the items in `held`; `batches` is what it was given."""

    def __init__(self, *held: int) -> None:
        self.held = set(held)
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> Sequence[int | Unwritten]:
        self.batches.append(items)
        return [BUSY if item in self.held else item * 10 for item in items]

    async def tried(self, item: int, times: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(item in batch for batch in self.batches) < times:
                await asyncio.sleep(0.01)


async def test_a_busy_item_delays_no_other_and_is_tried_again() -> None:
    held = Held(1)
    commits = GroupCommit("test", held, batch=10, capacity=10)
    busy = asyncio.create_task(commits.submit([1, 2]))
    await held.tried(1, 2)
    assert list(await commits.submit([3])) == [30]
    assert not busy.done()
    held.held.clear()
    assert list(await busy) == [10, 20]
    assert sum(2 in batch for batch in held.batches) == 1, "an accepted item was written again"
    assert (commits.size, commits.busy_size) == (0, 0)


async def test_a_busy_item_is_written_before_newer_ones() -> None:
    held = Held(1)
    commits = GroupCommit("test", held, batch=10, capacity=10)
    busy = asyncio.create_task(commits.submit([1]))
    await held.tried(1, 1)
    await commits.submit([3])
    assert [1, 3] in held.batches
    busy.cancel()


async def test_busy_items_are_not_tried_without_a_pause() -> None:
    held = Held(1)
    commits = GroupCommit("test", held, batch=10, capacity=10, max_wait_seconds=1)
    assert list(await commits.submit([1])) == [BUSY]
    assert 2 <= len(held.batches) <= 1 / RETRY_SECONDS + 1
    assert list(await commits.submit([2])) == [20]
    assert commits.busy_size == 0


async def test_a_caller_may_wait_for_less_time_for_busy_items() -> None:
    held = Held(1)
    commits = GroupCommit("test", held, batch=10, capacity=10, max_wait_seconds=1000)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert list(await commits.submit([1, 2], busy_seconds=0.05)) == [BUSY, 20]


async def test_busy_items_leave_half_of_each_batch_and_all_places_to_others() -> None:
    held = Held(*range(10))
    commits = GroupCommit("test", held, batch=4, capacity=8)
    busy = [asyncio.create_task(commits.submit([n])) for n in range(8)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(task.done() for task in busy) < 4:
            await asyncio.sleep(RETRY_SECONDS)
    await held.tried(0, 3)
    assert sum(task.done() for task in busy) == 4, "of eight busy items half are kept"
    given = len(held.batches)
    others = await asyncio.gather(*(commits.submit([n]) for n in range(10, 18)))
    assert [list(each) for each in others] == [[n * 10] for n in range(10, 18)]
    assert max(sum(item < 10 for item in batch) for batch in held.batches[given:]) <= 2
    for n in range(4):
        await held.tried(n, 3)
    held.held.clear()
    answers = [list(each) for each in await asyncio.gather(*busy)]
    assert sorted(answers, key=str) == sorted([[n * 10] for n in range(4)] + [[BUSY]] * 4, key=str)


async def test_a_batch_without_items_is_written_after_the_call() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=10)
    ledger.open.clear()
    first = asyncio.create_task(commits.submit([1]))
    await entered(ledger)
    empty = asyncio.create_task(commits.submit([]))
    await asyncio.sleep(0)
    ledger.open.set()
    assert list(await empty) == []
    assert ledger.batches == [[1], []]
    await first


async def test_an_error_of_a_later_batch_leaves_what_was_accepted() -> None:
    held = Held(-1)
    commits = GroupCommit("test", held, batch=10, capacity=10)
    partly = asyncio.create_task(commits.submit([1, -1]))
    await held.tried(-1, 1)
    commits.flush = Ledger()
    assert list(await partly) == [10, BUSY]


async def test_an_item_may_count_as_more_than_one() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=20, size_of=lambda item: item)
    await asyncio.gather(*(commits.submit([n]) for n in (6, 6, 4)))
    assert ledger.batches == [[6], [6, 4]]
    with pytest.raises(Overloaded):
        await commits.submit([21])


def test_it_works_on_a_second_event_loop() -> None:
    commits = GroupCommit("test", Ledger(), batch=10, capacity=10)
    assert [list(asyncio.run(_once(commits, n))) for n in (1, 2)] == [[10], [20]]


async def _once(commits: GroupCommit[int, int], item: int) -> Sequence[int | Unwritten]:
    return await commits.submit([item])
