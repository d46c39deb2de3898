"""Cache versions, step by step: a reader whose value is unchanged has missed no commit, whatever crashes."""

import random
from collections.abc import Generator, Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from activity import cache_versions, redis
from registry.models import LoopTick
from tests.registry.racing import as_if_on


class Organisation(cache_versions.CacheVersion):
    """Processes that commit changes under a cache version, and others that cache what they read, run step by step."""

    def __init__(self, seed: int) -> None:
        super().__init__("mark:test", lock_id=0x4D4F4CFF)
        self.chance = random.Random(seed)
        self.committed = self.must_be_seen = self.trusted = 0
        self.writers: list[Writer | None] = [None, None]
        self.readers = [self.reading(), self.reading(), self.validating_late()]

    def changing(self) -> Generator[None]:
        """A writer. It fails where it would have to wait for a lock."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = 1")
            yield
            self.lock()
            yield
            self.invalidate()
            yield
            LoopTick.objects.create(name=str(uuid4()), since=timezone.now())
            yield
        self.committed += 1

    def reading(self) -> Iterator[None]:
        kept: tuple[str | None, int] = None, 0
        while True:
            [value] = cache_versions.read(self)
            if value is not None and value == kept[0]:
                assert kept[1] >= self.must_be_seen
                self.trusted += 1
            else:
                yield
                known = LoopTick.objects.count()
                yield
                kept = value, known
            yield

    def change(self) -> None:
        """One step of some writer, which may crash after it; sometimes Redis loses everything first."""
        if self.chance.random() < 0.1:
            redis.client().flushall()
        place = self.chance.randrange(len(self.writers))
        writer = self.writers[place] = self.writers[place] or Writer(self.changing())
        if self.chance.random() < 0.1 or not writer.step():
            writer.end()
            self.writers[place] = None

    def validating_late(self) -> Iterator[None]:
        """A reader whose command times out and is executed later."""
        while True:
            seen = str(redis.client().get(self.key))
            with transaction.atomic():
                is_free = self._is_unlocked()
            yield
            if is_free and seen.startswith(cache_versions.INVALID):
                redis.client().eval(cache_versions.REPLACE, 1, self.key, seen, str(uuid4()))
            yield

    def validate(self, seen: str | None) -> str | None:
        self.must_be_seen = self.committed
        self.let_others_run()
        return super().validate(seen)

    def _is_unlocked(self) -> bool:
        is_free = super()._is_unlocked()
        self.let_others_run()
        return is_free

    def let_others_run(self) -> None:
        for _ in range(self.chance.choice([0, 0, 0, 1, 3, 9])):
            self.change()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.chance.random() < 0.8:
                next(self.chance.choice(self.readers))
            else:
                self.change()
        for writer in filter(None, self.writers):
            writer.end()


class Writer:
    """A writer on a connection of its own."""

    def __init__(self, steps: Generator[None]) -> None:
        self.steps, self.connection = steps, connections.create_connection("default")

    def step(self) -> bool:
        """Run one step. Returns False if there was none left."""
        with as_if_on(self.connection):
            try:
                return next(self.steps, self) is None
            except OperationalError:
                return False

    def end(self) -> None:
        with closing(self.connection), as_if_on(self.connection):
            self.steps.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(5))
def test_a_reader_with_an_unchanged_version_has_missed_nothing(seed: int) -> None:
    """Writers overlap and crash at any step, readers are interrupted at any step, Redis is emptied at any step."""
    organisation = Organisation(seed)
    organisation.run(400)
    assert organisation.committed > 0
    assert organisation.trusted > 0
