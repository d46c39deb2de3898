"""Pruning deletes old activity in batches, oldest first, and nothing else."""

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from activity import log
from activity.models import ActivityLog
from registry.models import Workspace

Make = Callable[..., Workspace]
Written = Callable[..., list[datetime]]


@pytest.fixture
def written(make_workspace: Make) -> Written:
    """Creates rows of that age in days. Returns their times, oldest first."""
    workspace_id = make_workspace().id

    def write(*days: float) -> list[datetime]:
        now = timezone.now()
        times = [now - timedelta(days=age) for age in days]
        ActivityLog.objects.bulk_create(
            ActivityLog(workspace_id=workspace_id, activity_type="agent_log", created_at=at) for at in times
        )
        return sorted(times)

    return write


def left() -> list[datetime]:
    return list(ActivityLog.objects.order_by("created_at").values_list("created_at", flat=True))


def test_a_batch_deletes_the_oldest_rows_first(written: Written) -> None:
    times = written(8, 10, 1, 9)
    pruned = log.prune(log.retention_cutoff(7), 2)
    assert (pruned, left()) == (log.Pruned(rows=2, upto=times[1], more=True), times[2:])
    assert log.prune(log.retention_cutoff(7), 2) == log.Pruned(rows=1, upto=times[2], more=False)
    assert log.prune(log.retention_cutoff(7), 2) == log.Pruned(rows=0, upto=None, more=False)
    assert left() == times[3:]


def test_a_row_at_the_cutoff_stays(written: Written) -> None:
    (at,) = written(3)
    assert log.prune(at, 9).rows == 0
    assert log.prune(at + timedelta(microseconds=1), 9).rows == 1


def test_rows_with_the_same_time_are_not_skipped(written: Written) -> None:
    """A batch may end between rows of the same time: the next one starts with that time again."""
    written(8, 8, 8)
    ActivityLog.objects.update(created_at=left()[0])
    pruned = log.prune(log.retention_cutoff(7), 2)
    assert log.prune(log.retention_cutoff(7), 2, after=pruned.upto).rows == 1


def test_rows_that_another_process_deletes_are_skipped(written: Written, transactional_db: None) -> None:
    times = written(10, 9, 8)
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("DELETE FROM activity_logs WHERE created_at = %s", [times[0]])
        assert log.prune(log.retention_cutoff(7), 2) == log.Pruned(rows=2, upto=times[2], more=True)
    assert left() == []


def prune(*arguments: str) -> str:
    output = io.StringIO()
    call_command("prune_activity", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def test_a_dry_run_counts_and_removes_nothing(written: Written) -> None:
    times = written(1, 6, 8, 9)
    assert prune("--dry-run").startswith("2 rows would be removed, ")
    assert prune("--dry-run", "--days", "5").startswith("3 rows would be removed, ")
    assert left() == times


def test_the_command_removes_batch_after_batch(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PRUNE_BATCH", 2)
    times = written(1, 8, 9, 10, 11)
    assert prune().startswith("4 rows removed, ")
    assert left() == times[4:]
    assert prune("--days", "0.5").startswith("1 rows removed, ")


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "1e9"])
def test_invalid_numbers_of_days_remove_nothing(written: Written, days: str) -> None:
    times = written(8)
    with pytest.raises(CommandError):
        prune("--days", days)
    assert left() == times


def test_with_retention_disabled_days_are_required(written: Written, settings: Any) -> None:
    settings.ACTIVITY_RETENTION_DAYS = 0.0
    times = written(1000)
    with pytest.raises(CommandError, match="forever"):
        prune()
    assert left() == times


@pytest.mark.django_db(transaction=True)
def test_only_prunings_own_transaction_commits_without_waiting_for_the_disk() -> None:
    def synchronous_commit() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return str(cursor.fetchone()[0])

    with transaction.atomic():
        log.prune(log.retention_cutoff(1), 10)
        assert synchronous_commit() == "off"
    log.prune(log.retention_cutoff(1), 10)
    assert synchronous_commit() == "on"
