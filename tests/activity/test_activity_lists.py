"""GET /activity and GET /workspaces/{id}/activity: the times `since` and `before`, however a client encodes them."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from activity.log import Entry, write
from activity.models import ActivityLog
from registry.models import Workspace

NOON_UTC = "2026-01-31T12:00:00Z"
LISTS = ["/activity", "/workspaces/{id}/activity"]


@pytest.fixture
def one_entry_at_noon(make_workspace: Callable[..., Workspace]) -> Workspace:
    workspace = make_workspace()
    write(workspace.id, [Entry(activity_type="agent_log")])
    ActivityLog.objects.update(created_at=NOON_UTC)
    return workspace


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("just_before", "just_after"),
    [
        ("2026-01-31T12:59:59+01:00", "2026-01-31T13:00:01+01:00"),
        ("2026-01-31T12:59:59%2B01:00", "2026-01-31T13:00:01%2B01:00"),
        ("2026-01-31 12:59:59+01:00", "2026-01-31 13:00:01+01:00"),
        ("2026-01-31T17:29:59.5+0530", "2026-01-31T17:30:00.5+0530"),
        ("2026-01-31T06:59:59-05:00", "2026-01-31T07:00:01-05:00"),
        ("2026-01-31T11:59:59Z", "2026-01-31T12:00:01Z"),
        ("2026-01-31 12:59+01", "2026-01-31 13:01+01"),
        ("20260131T125959+0100", "20260131T130001+0100"),
        ("2026-01-31 12:59:59 %2B01:00", "2026-01-31 13:00:01 %2B01:00"),
        ("2026-1-31 11:59", "2026-1-31 12:01"),
        ("2026-01-31", "2026-02-01"),
    ],
)
def test_times_mean_the_same_encoded_or_not(
    as_operator: APIClient, one_entry_at_noon: Workspace, path: str, just_before: str, just_after: str
) -> None:
    url = path.format(id=one_entry_at_noon.id)

    def found(parameter: str, time: str) -> int:
        return len(as_operator.get(f"{url}?{parameter}={time}").json())

    assert [found("since", just_before), found("since", just_after)] == [1, 0]
    assert [found("before", just_before), found("before", just_after)] == [0, 1]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("parameter", ["since", "before"])
@pytest.mark.parametrize(
    "time",
    [
        "yesterday",
        "12:00",
        "5",
        "2026-02-30",
        "2026-01-31T12:00:00+",
        "2026-01-31T12:00:00+1",
        "2026-01-31T12:00:00++01:00",
        "2026-01-31T25:00:00+01:00",
        "2026-01-31T12:00:00+01:00+01:00",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_malformed_times_are_refused(
    as_operator: APIClient, one_entry_at_noon: Workspace, path: str, parameter: str, time: str
) -> None:
    answer = as_operator.get(f"{path.format(id=one_entry_at_noon.id)}?{parameter}={time}")
    assert (answer.status_code, answer.json()["field"]) == (400, parameter)


@pytest.mark.parametrize(
    ("path", "query", "table"),
    [
        ("/activity", "type=delegation", "activity_logs"),
        ("/activity", "status=unheard", "activity_logs"),
        ("/events", "type=WORKSPACE_VANISHED", "structure_events"),
    ],
)
def test_an_unknown_value_is_answered_without_reading_the_log(
    one_entry_at_noon: Workspace, as_viewer: APIClient, path: str, query: str, table: str
) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert as_viewer.get(f"{path}?{query}").json() == []
    assert not any(f'FROM "{table}"' in one["sql"] for one in captured.captured_queries)
