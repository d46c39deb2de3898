"""A client that follows the cursors of activity gets every row once, in either direction and any order of commits."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from activity import cursors, log
from activity.log import Entry
from activity.models import ActivityLog
from registry.models import Workspace
from tests.activity.test_pages import relations
from tests.registry.racing import another_connection, together

Make = Callable[..., Workspace]
PATHS = ["/activity", "/workspaces/{id}/activity"]
transactional = pytest.mark.django_db(transaction=True)


@pytest.fixture
def own(make_workspace: Make) -> UUID:
    return make_workspace().id


def report(own: UUID, *names: str, **fields: Any) -> None:
    log.write(own, [Entry(activity_type="agent_log", method=name, **fields) for name in names])


@contextmanager
def uncommitted(own: UUID, *names: str) -> Iterator[None]:
    """Rows of another web process, which commit at the end of the block. In a savepoint, as in operations."""
    with another_connection(), transaction.atomic(), transaction.atomic():
        report(own, *names)
        with another_connection():
            yield


def read(client: Any, url: str, relation: str = "next") -> tuple[list[str], str]:
    """The names on all pages from there, and the address of what is newer."""
    names = []
    while True:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        names += [row["method"] for row in answer.json()]
        links = relations(answer)
        if "next" not in links:
            return names, links["newer"]
        url = links["next"]


@transactional
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("limit", [1, 2, 500])
def test_rows_of_the_same_microsecond_come_once(as_operator: APIClient, own: UUID, path: str, limit: int) -> None:
    for number in range(3):
        report(own, f"{number} a", f"{number} b")
    ActivityLog.objects.update(created_at="2026-01-31T12:00:00Z")
    url = f"{path.format(id=own)}?limit={limit}"
    names, newer = read(as_operator, url)
    assert Counter(names) == Counter(f"{number} {letter}" for number in range(3) for letter in "ab")
    report(own, "c", "d")
    ActivityLog.objects.filter(method__in=["c", "d"]).update(created_at="2026-01-31T12:00:00Z")
    found, newer = read(as_operator, newer)
    assert sorted(found) == ["c", "d"]
    assert read(as_operator, newer)[0] == []


@transactional
@pytest.mark.parametrize("path", PATHS)
def test_rows_that_commit_late_come_once(as_operator: APIClient, own: UUID, path: str) -> None:
    url = path.format(id=own)
    report(own, "first")
    with uncommitted(own, "late"):
        report(own, "second")
        names, newer = read(as_operator, url)
        assert names == ["second", "first"]
        report(own, "third")
        found, newer = read(as_operator, newer)
        assert found == ["third"]
    found, newer = read(as_operator, newer)
    assert found == ["late"]
    assert read(as_operator, newer)[0] == []


@transactional
def test_a_row_that_commits_late_among_older_pages_is_newer(as_operator: APIClient, own: UUID) -> None:
    report(own, "first")
    with uncommitted(own, "late"):
        report(own, "second", "third")
        answer = as_operator.get("/activity?limit=1")
    links = relations(answer)
    older, again = read(as_operator, links["next"])
    assert older == ["second", "first"]
    for newer in (links["newer"], again):
        assert read(as_operator, newer)[0] == ["late"]


@transactional
def test_the_pages_of_what_is_newer_are_of_one_moment(as_operator: APIClient, own: UUID) -> None:
    _, newer = read(as_operator, "/activity?limit=1")
    with uncommitted(own, "late"):
        report(own, "a", "b")
        report(own, "c")
        answer = as_operator.get(newer)
        assert [row["method"] for row in answer.json()] == ["a"]
        report(own, "d")
    names, newer = read(as_operator, relations(answer)["next"])
    assert names == ["b", "c"]
    assert sorted(read(as_operator, newer)[0]) == ["d", "late"]


@transactional
def test_filters_stay_and_times_go(as_operator: APIClient, own: UUID) -> None:
    report(own, "a", status="error")
    report(own, "b")
    hour = timedelta(hours=1)
    since, before = ((datetime.now(UTC) + ago).isoformat() for ago in (-hour, hour))
    answer = as_operator.get("/activity", {"status": "error", "since": since, "before": before, "limit": "1"})
    assert [row["method"] for row in answer.json()] == ["a"]
    report(own, "c", status="error")
    report(own, "d")
    newer = relations(answer)["newer"]
    assert "before" not in newer
    assert read(as_operator, newer)[0] == ["c"]


@transactional
def test_older_pages_end_where_since_says(as_operator: APIClient, own: UUID) -> None:
    report(own, "a", "b", "c", "d")
    at = ActivityLog.objects.get(method="b").created_at.isoformat()
    assert read(as_operator, f"/activity?limit=1&since={at.replace('+', '%2B')}")[0] == ["d", "c"]


@transactional
def test_readers_miss_nothing_while_several_write(as_operator: APIClient, own: UUID) -> None:
    """Writers hold their transactions open for a while, so that rows commit in another order than they are written."""
    report(own, "before")
    names, newer = read(as_operator, "/activity?limit=3")
    done = threading.Event()
    writers, rounds = 4, 12
    finished = []

    def write(writer: int) -> None:
        for number in range(rounds):
            with transaction.atomic():
                report(own, f"{writer} {number} a")
                threading.Event().wait(0.003 * ((writer + number) % 4))
                report(own, f"{writer} {number} b")
        finished.append(writer)
        if len(finished) == writers:
            done.set()

    def follow() -> None:
        nonlocal newer
        while True:
            last = done.is_set()
            found, newer = read(as_operator, newer)
            names.extend(found)
            if last:
                return

    together(follow, *(lambda writer=writer: write(writer) for writer in range(writers)))
    wanted = {f"{writer} {number} {letter}" for writer in range(writers) for number in range(rounds) for letter in "ab"}
    assert Counter(names) == Counter(wanted | {"before"})


@transactional
def test_rows_of_an_older_release_are_older(as_operator: APIClient, own: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activity_logs (workspace_id, activity_type, method, transaction_id)"
            " SELECT %s, 'agent_log', name, NULL FROM unnest(ARRAY['a', 'b', 'c']) AS name",
            [own],
        )
    names, newer = read(as_operator, "/activity?limit=1")
    assert sorted(names) == ["a", "b", "c"]
    assert read(as_operator, newer)[0] == []


@transactional
def test_rows_from_before_a_restored_backup_come_once(as_operator: APIClient, own: UUID) -> None:
    """Transaction ids may have been much higher before the restore."""
    report(own, "old")
    report(own, "older")
    ActivityLog.objects.update(transaction_id=2**40)
    names, newer = read(as_operator, "/activity?limit=1")
    assert names == ["older", "old"]
    report(own, "new")
    assert read(as_operator, newer)[0] == ["new"]


@pytest.mark.parametrize("cursor", ["x", "WzFd:1a:b", "2026-01-31T12:00:00Z", "é" * 5000])
def test_any_other_text_is_refused_as_a_cursor(as_operator: APIClient, own: UUID, cursor: str) -> None:
    answer = as_operator.get("/activity", {"cursor": cursor})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@transactional
def test_what_is_newer_is_found_by_an_index(as_operator: APIClient, own: UUID) -> None:
    report(own, "a")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activity_logs (workspace_id, activity_type)"
            " SELECT %s, 'agent_log' FROM generate_series(1, 5000)",
            [own],
        )
        cursor.execute("ANALYZE activity_logs")
    _, newer = read(as_operator, "/activity?limit=500")
    report(own, "b")
    (text,) = parse_qs(urlsplit(newer).query)["cursor"]
    rows = cursors.decode(text).select(ActivityLog.objects.all())
    assert "activity_logs_transaction_id_idx" in rows[:500].explain()
