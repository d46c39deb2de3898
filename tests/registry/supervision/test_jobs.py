"""The row of a background job: when it ticked, and its errors."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from registry.models import LoopTick
from registry.supervision import jobs


def row(name: str) -> LoopTick:
    return LoopTick.objects.get(name=name)


@pytest.fixture
def without_rows(transactional_db: None) -> Any:
    """Runs the given function while the table does not exist."""

    def call(act: Callable[[], object]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE loop_ticks RENAME TO away")
            try:
                act()
            finally:
                cursor.execute("ALTER TABLE away RENAME TO loop_ticks")

    return call


def test_errors_are_counted_and_the_last_one_is_kept(db: None) -> None:
    failures = jobs.Failures("a job")
    for number in range(3):
        failures.add(ValueError(f"number {number}"))
    found = row("a job")
    assert (found.errors, found.last_error, found.ticked_at) == (3, "ValueError: number 2", None)
    assert found.failed_at is not None
    assert jobs.is_failing(found)
    assert not jobs.is_fresh(found)


def test_ticks_and_errors_do_not_overwrite_each_other(db: None) -> None:
    failures = jobs.Failures("a job")
    jobs.tick("a job", seen=1)
    before = row("a job")
    failures.add(ValueError())
    assert (row("a job").ticked_at, row("a job").detail) == (before.ticked_at, {"seen": 1})
    jobs.tick("a job", seen=2)
    after = row("a job")
    assert (after.errors, after.last_error, after.since) == (1, "ValueError", before.since)
    LoopTick.objects.update(failed_at=timezone.now() - timedelta(seconds=jobs.FAILING_SECONDS + 1))
    assert not jobs.is_failing(row("a job"))


def test_since_starts_with_the_first_completed_step(db: None) -> None:
    jobs.Failures("a job").add(ValueError())
    LoopTick.objects.update(since="2020-01-01T00:00:00Z")
    jobs.tick("a job")
    assert row("a job").since == row("a job").ticked_at


def test_errors_that_cannot_be_written_are_kept_until_they_can(without_rows: Any) -> None:
    failures = jobs.Failures("a job")
    for message in ("first", "second"):
        without_rows(partial(failures.add, ValueError(message)))
    assert not LoopTick.objects.exists()
    failures.write()
    failures.write()
    assert (row("a job").errors, row("a job").last_error) == (2, "ValueError: second")


@pytest.mark.parametrize(
    "message",
    [
        "cannot reach postgresql://molecule:another5@elsewhere:5432/molecule",
        "redis://:s3cr3t@cache:6379/0 refused",
        "password s3cr3t was refused",
        "key hunter22 was refused",
        "duplicate key value\nDETAIL:  Key (value)=(another5) already exists.",
    ],
)
def test_an_error_shows_no_credentials(settings: Any, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "s3cr3t")
    settings.REDIS_URL = "redis://user:hunter22@cache:6379/0"
    words = jobs.describe(ValueError(message))
    assert words.startswith("ValueError: ")
    assert not any(secret in words for secret in ("s3cr3t", "hunter22", "another5"))


def test_a_long_error_is_cut() -> None:
    assert len(jobs.describe(ValueError("x" * 10_000))) == jobs.MAX_ERROR_LENGTH


def test_rows_of_killed_processes_are_deleted_and_those_of_jobs_are_not(db: None) -> None:
    for name in (f"{jobs.PROCESS}dead:1", f"{jobs.PROCESS}living:2", jobs.RETENTION):
        jobs.tick(name)
    LoopTick.objects.exclude(name__endswith=":2").update(ticked_at=timezone.now() - timedelta(days=1))
    jobs.forget_dead_processes()
    assert [tick.name for tick in jobs.every()] == [jobs.RETENTION, f"{jobs.PROCESS}living:2"]
