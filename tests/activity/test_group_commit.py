"""Many callers, one batch at a time, an answer for each; a bound on how many wait and for how long."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from activity.group_commit import GroupCommit, Overloaded


class Ledger:
    """A flush that can be held up; `batches` is what it was given."""

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


async def test_everybody_gets_the_answer_to_what_they_brought() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=7, capacity=1000)
    answers = await asyncio.gather(*(commits.submit([n, n + 1000]) for n in range(100)))
    assert [list(each) for each in answers] == [[n * 10, (n + 1000) * 10] for n in range(100)]
    assert max(map(len, ledger.batches)) <= 7
    assert len(ledger.batches) < 100, "nobody was taken together"


async def test_what_comes_meanwhile_goes_together() -> None:
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


async def test_when_too_many_wait_the_next_is_told_at_once_and_leaves_no_trace() -> None:
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


async def test_a_batch_that_fails_fails_for_its_own_and_nobody_else() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10)
    outcomes = await asyncio.gather(
        commits.submit([1]), commits.submit([-1]), commits.submit([2]), return_exceptions=True
    )
    assert [list(outcomes[0]), list(outcomes[2])] == [[10], [20]]  # type: ignore[arg-type]
    assert isinstance(outcomes[1], ValueError)


async def test_nobody_waits_for_ever_for_a_database_that_hangs() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=1, capacity=10, max_wait_seconds=0.05)
    ledger.open.clear()
    stuck = [asyncio.create_task(commits.submit([n])) for n in range(3)]
    outcomes = await asyncio.wait_for(asyncio.gather(*stuck, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [Overloaded] * 3
    ledger.open.set()
    assert list(await commits.submit([7])) == [70]
    assert ledger.batches == [[0], [7]], "who was told to try again was not taken behind their back"


async def test_who_waits_behind_slow_batches_waits_no_longer_than_for_one() -> None:
    """Each batch ends in time, by itself; but the last one's turn would come too late."""
    ledger = Ledger()

    def slowly(items: list[int]) -> Sequence[int]:
        time.sleep(0.3)
        return ledger(items)

    commits = GroupCommit("test", slowly, batch=1, capacity=10, max_wait_seconds=0.5)
    outcomes = await asyncio.gather(*(commits.submit([n]) for n in range(6)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[2:]] == [Overloaded] * 4
    assert commits.size == 0
    assert list(await commits.submit([7])) == [70]
    assert ledger.batches in ([[0], [1], [7]], [[0], [7]]), "what was refused before its turn was taken"


async def test_who_was_refused_does_not_count_as_taken() -> None:
    ledger = Ledger()
    commits = GroupCommit("counted", ledger, batch=1, capacity=10, max_wait_seconds=0.05)
    ledger.open.clear()
    with pytest.raises(Overloaded):
        await commits.submit([1])
    ledger.open.set()
    await commits.submit([2])
    assert [counted("items"), counted("refused")] == [1, 1]


def counted(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"molecule_group_commit_{name}_total", {"gate": "counted"})


async def test_a_caller_who_went_away_harms_nobody() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=10)
    ledger.open.clear()
    gone, stays = asyncio.create_task(commits.submit([1])), asyncio.create_task(commits.submit([2]))
    await entered(ledger)
    gone.cancel()
    ledger.open.set()
    assert list(await stays) == [20]


async def test_an_item_may_weigh_more_than_one() -> None:
    ledger = Ledger()
    commits = GroupCommit("test", ledger, batch=10, capacity=20, size_of=lambda item: item)
    await asyncio.gather(*(commits.submit([n]) for n in (6, 6, 4)))
    assert ledger.batches == [[6], [6, 4]]
    with pytest.raises(Overloaded):
        await commits.submit([21])


def test_a_gate_outlives_the_event_loop_that_used_it() -> None:
    commits = GroupCommit("test", Ledger(), batch=10, capacity=10)
    assert [list(asyncio.run(_once(commits, n))) for n in (1, 2)] == [[10], [20]]


async def _once(commits: GroupCommit[int, int], item: int) -> Sequence[int]:
    return await commits.submit([item])
