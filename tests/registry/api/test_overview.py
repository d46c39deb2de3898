"""GET /overview and GET /workspaces/{id}/availability."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from activity import traffic
from activity.log import Entry, write
from activity.models import EventType
from registry.liveness import uptime
from registry.models import Workspace
from registry.organisation.attention import recent_counts
from tests.registry.organisation.test_attention import tell

Make = Callable[..., Workspace]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    traffic._past.clear()
    uptime.forget()
    yield
    traffic._past.clear()


def test_the_organisation_at_a_glance(make_workspace: Make, as_viewer: APIClient) -> None:
    down, up, paused = make_workspace("Down"), make_workspace("Up"), make_workspace("Paused")
    tell(down, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    tell(up, EventType.WORKSPACE_ONLINE)
    tell(paused, EventType.WORKSPACE_PAUSED)
    write(
        up.id, [Entry(activity_type="a2a_receive", duration_ms=100), Entry(activity_type="a2a_receive", status="error")]
    )
    found = as_viewer.get("/overview").json()
    assert found["workspaces"] == {"total": 3, "statuses": {"offline": 1, "online": 1, "paused": 1}}
    [item] = found["attention"]["items"]
    assert (item["name"], item["status"]) == ("Down", "offline")
    [problem] = item["problems"]
    assert (problem["kind"], problem["why"]) == ("offline", "lease expired")
    assert found["attention"]["kinds"] == {"offline": 1}
    calls = found["calls"]
    assert (calls["calls"], calls["errors"]) == (2, 1)
    assert calls["p95_ms"] == pytest.approx(100, rel=0.03)
    assert len(calls["hours"]) == 24
    assert calls["hours"][-1]["calls"] == 2
    assert len(found["availability"]["hours"]) == 48


def test_what_needs_somebody_is_counted_at_most_once_in_some_seconds(
    make_workspace: Make, as_viewer: APIClient, anonymous: APIClient
) -> None:
    tell(make_workspace(), EventType.WORKSPACE_OFFLINE, reason="lease expired")
    found = {"count": 1, "kinds": {"offline": 1}}
    assert as_viewer.get("/attention").json() == found
    tell(make_workspace(), EventType.WORKSPACE_OFFLINE, reason="lease expired")
    assert as_viewer.get("/attention").json() == found
    recent_counts.forget()
    assert as_viewer.get("/attention").json() == {"count": 2, "kinds": {"offline": 2}}
    assert anonymous.get("/attention").status_code == 401


def test_an_empty_organisation_has_an_overview(as_viewer: APIClient) -> None:
    found = as_viewer.get("/overview").json()
    assert found["workspaces"] == {"total": 0, "statuses": {}}
    assert (found["attention"]["count"], found["calls"]["calls"], found["availability"]["ratio"]) == (0, 0, None)


def test_the_availability_of_a_workspace(make_workspace: Make, as_viewer: APIClient) -> None:
    workspace = make_workspace()
    tell(workspace, EventType.WORKSPACE_ONLINE)
    tell(workspace, EventType.WORKSPACE_OFFLINE)
    found = as_viewer.get(f"/workspaces/{workspace.id}/availability").json()
    assert found["from"] < found["to"]
    assert len(found["strip"]) == 48
    assert found["strip"][-1] == "offline"
    [outage] = found["outages"]
    assert (outage["status"], outage["until"]) == ("offline", None)
    assert found["ratio"] == pytest.approx(found["up_seconds"] / (found["up_seconds"] + found["down_seconds"]))


def test_of_a_time_that_it_did_not_exist_there_is_none(make_workspace: Make, as_viewer: APIClient) -> None:
    workspace, now = make_workspace(), datetime.now(UTC)
    window = {"from": (now - timedelta(days=3)).isoformat(), "to": (now - timedelta(days=2)).isoformat()}
    found = as_viewer.get(f"/workspaces/{workspace.id}/availability", window).json()
    assert (found["ratio"], found["outages"], set(found["strip"])) == (None, [], {None})


def test_a_window_has_at_most_31_days(make_workspace: Make, as_viewer: APIClient) -> None:
    path, until = f"/workspaces/{make_workspace().id}/availability", "2026-02-01T00:00:00Z"
    assert as_viewer.get(path, {"from": "2026-01-01T00:00:00Z", "to": until}).status_code == 200
    assert as_viewer.get(path, {"from": "2025-12-31T23:59:59Z", "to": until}).status_code == 400


def test_the_first_of_all_times_has_none_before_it(make_workspace: Make, as_viewer: APIClient) -> None:
    path = f"/workspaces/{make_workspace().id}/availability"
    answer = as_viewer.get(path, {"to": "0001-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["field"]) == (400, "to")


@pytest.mark.parametrize(
    "window",
    [
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2999-01-01T00:00:00Z"},
        {"from": "yesterday"},
    ],
)
def test_a_window_that_is_none_is_refused(make_workspace: Make, as_viewer: APIClient, window: dict[str, Any]) -> None:
    answer = as_viewer.get(f"/workspaces/{make_workspace().id}/availability", window)
    assert (answer.status_code, answer.json()["field"]) == (400, "from")


def test_an_unknown_workspace_has_no_availability(as_viewer: APIClient) -> None:
    assert as_viewer.get("/workspaces/00000000-0000-0000-0000-000000000001/availability").status_code == 404
