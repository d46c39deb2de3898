"""A ShortCache reads once for all who ask within its seconds."""

import threading

import pytest

from activity.short_cache import ShortCache


class Source:
    """Counts how often it was read. `gate` holds a read back until it is set."""

    def __init__(self) -> None:
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.reads += 1
        self.gate.wait(30)
        return self.reads


@pytest.fixture
def source() -> Source:
    return Source()


def test_a_value_is_used_until_it_is_too_old(source: Source) -> None:
    recent, too_old = ShortCache(source, 60), ShortCache(source, 0)
    assert [recent(), recent()] == [1, 1]
    assert [too_old(), too_old()] == [2, 3]


def test_a_value_that_was_read_elsewhere_is_used_until_it_is_forgotten(source: Source) -> None:
    cached = ShortCache(source, 60)
    cached.keep(10)
    assert cached() == 10
    cached.forget()
    assert cached() == 1


def test_all_who_ask_during_a_read_share_it(source: Source) -> None:
    source.gate.clear()
    cached: ShortCache[int] = ShortCache(source, 60)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(cached())) for _ in range(5)]
    for thread in threads:
        thread.start()
    source.gate.set()
    for thread in threads:
        thread.join()
    assert (found, source.reads) == ([1] * 5, 1)


def test_a_read_that_fails_is_tried_again() -> None:
    failures = [ValueError("away")]

    def read() -> str:
        if failures:
            raise failures.pop()
        return "there"

    cached = ShortCache(read, 60)
    with pytest.raises(ValueError, match="away"):
        cached()
    assert cached() == "there"
