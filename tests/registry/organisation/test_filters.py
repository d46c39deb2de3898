"""The filter of workspaces: every parameter selects what a plain loop over the rows does, for REST too."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from activity import clock
from registry.models import Workspace
from registry.organisation import filters
from registry.organisation.attention import attention
from tests.registry.organisation import organisations

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_parameter_selects_what_a_loop_over_the_rows_does(as_viewer: APIClient, seed: int) -> None:
    organisations.create(seed)
    sizes = set()
    for query in organisations.queries(seed):
        expected = organisations.expected(query)
        answer = as_viewer.get("/workspaces", query)
        assert {row["id"] for row in answer.json()} == expected, query
        sizes.add(len(expected))
    assert len(sizes) > 10


def test_what_needs_somebody_is_what_the_overview_counts(as_viewer: APIClient) -> None:
    organisations.create(1)
    found = as_viewer.get("/workspaces?attention=1").json()
    assert len(found) == attention().count > 0


def test_values_may_be_repeated_or_separated_by_commas(as_viewer: APIClient, make_workspace: Any) -> None:
    for status in ("online", "failed", "offline"):
        make_workspace(status, status=status)
    for query in ("status=online&status=failed", "status=online,failed", "status=online&status=failed,&status="):
        assert {row["name"] for row in as_viewer.get(f"/workspaces?{query}").json()} == {"online", "failed"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=onlin", "“onlin” is not one of provisioning, online"),
        ("tier=5", "“5” is not one of 1, 2, 3, 4"),
        ("team=x", "must be an id"),
        ("position=left", "“left” is not one of top, team"),
        ("attention=yes", "“yes” is not one of 1"),
        ("heartbeat_before=yesterday", "must be an ISO 8601 time, or how long ago"),
        ("created_after=99h99", "must be an ISO 8601 time"),
        ("created_after=999999w", "must be an ISO 8601 time"),
        ("state=gone", "“gone” is not one of active, removed, all"),
        (f"q={'a' * 201}", "must be at most 200 characters"),
        ("runtime=%00", "must be at most"),
        (f"runtime={','.join(map(str, range(101)))}", "must be at most 100 values"),
    ],
)
def test_what_cannot_be_read_is_named(as_viewer: APIClient, query: str, message: str) -> None:
    answer = as_viewer.get(f"/workspaces?{query}")
    assert answer.status_code == 400
    assert answer.json()["field"] == query.partition("=")[0]
    assert message in answer.json()["error"]


def test_a_filtered_list_has_pages_and_is_never_taken_for_unchanged(as_viewer: APIClient, make_workspace: Any) -> None:
    for number in range(5):
        make_workspace(f"W{number}", tier=1 + number % 2)
    unfiltered, url, seen = as_viewer.get("/workspaces"), "/workspaces?tier=1&limit=2", []
    assert "ETag" in unfiltered
    while url:
        page = as_viewer.get(url, headers={"If-None-Match": unfiltered["ETag"]})
        assert "ETag" not in page
        seen += [row["name"] for row in page.json()]
        url = page.get("Link", "").partition(">")[0].removeprefix("<")
    assert seen == ["W0", "W2", "W4"]


def test_a_moment_is_after_itself_and_not_before(make_workspace: Any) -> None:
    made = make_workspace()
    at, later = made.created_at.isoformat(), (made.created_at + timedelta(microseconds=1)).isoformat()

    def found(**query: str) -> list[Workspace]:
        return list(filters.select(Workspace.objects.all(), filters.parse({n: [text] for n, text in query.items()})))

    assert found(created_after=at) == found(created_before=later) == [made]
    assert found(created_before=at) == found(created_after=later) == []


def test_a_span_counts_from_now(db: None) -> None:
    day_ago = filters.parse({"created_after": ["24h"]}).created_after
    assert day_ago is not None
    assert abs(clock.now() - timedelta(days=1) - day_ago) < timedelta(minutes=1)
