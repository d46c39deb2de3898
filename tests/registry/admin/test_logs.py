"""The logs: bounded queries, keyset pages and filters."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity import log
from activity.log import Entry
from activity.models import ActivityLog, EventType, StructureEvent
from registry.identity import tokens
from registry.models import Workspace
from registry.organisation import workspaces
from registry.secrets import store
from tests.registry.admin.pages import LISTS, WORKSPACES, Make, change_url, executed_sql, last_event


@pytest.mark.parametrize("name", LISTS[:-2])
def test_queries_do_not_grow_with_rows(root: Client, make_workspace: Make, name: str) -> None:
    def grow(count: int) -> None:
        lead = make_workspace("Lead")
        for number in range(count):
            made = make_workspace(f"W{number}", parent_id=lead.id, model="m")
            tokens.issue_workspace_token(made.id)
            store.set_for_workspace(made.id, "KEY", "x", actor="test")
            log.write(made.id, [Entry(activity_type="agent_log")])

    url = reverse(f"admin:{name}_changelist")
    grow(5)
    few = len(executed_sql(root, url))
    grow(30)
    assert len(executed_sql(root, url)) <= few


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": "x"},
        {"_facets": "True"},
        {"all": ""},
        {"since": "1d"},
        {"workspace": "x"},
        {"since": "2026-01-01T00:00"},
    ],
)
def test_logs_are_never_counted(root: Client, furnished: Workspace, name: str, query: dict[str, str]) -> None:
    ran = executed_sql(root, reverse(f"admin:{name}_changelist"), **query)
    assert not [sql for sql in ran if "COUNT(" in sql.upper()]


def test_lists_do_not_read_large_columns(root: Client, furnished: Workspace) -> None:
    ran = executed_sql(root, reverse("admin:activity_activitylog_changelist"))
    assert not [sql for sql in ran if "request_body" in sql or "response_body" in sql]
    ran = executed_sql(root, reverse(WORKSPACES))
    assert not [sql for sql in ran if "agent_card" in sql]


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
def test_pages_follow_each_other_without_gap_or_overlap(root: Client, make_workspace: Make, name: str) -> None:
    for number in range(60):
        made = make_workspace(f"W{number}")
        log.write(made.id, [Entry(activity_type="agent_log")] * 2)
    ActivityLog.objects.update(created_at="2026-01-01T00:00:00Z")  # only the id tells them apart
    model: Any = ActivityLog if "log" in name else StructureEvent
    url, seen, pages = reverse(f"admin:{name}_changelist"), [], [""]
    for query in pages:
        changelist = root.get(url + query).context["cl"]
        seen += [row.pk for row in changelist.result_list]
        pages += [changelist.older] if changelist.older else []
    assert seen == list(model.objects.values_list("pk", flat=True))
    assert len(seen) > 50


def test_logs_of_one_workspace(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    for workspace in (one, other):
        log.write(workspace.id, [Entry(activity_type="agent_log", summary="found")])
    for name in ("activity_activitylog", "activity_structureevent"):
        url = reverse(f"admin:{name}_changelist")
        for query in ({"workspace_id": str(one.id)}, {"q": str(one.id)}):
            rows = root.get(url, query).context["cl"].result_list
            assert [row.workspace_id for row in rows] == [one.id]
        assert root.get(url, {"workspace_id": "x"}).status_code == 302
        assert root.get(url, {"page_before": "x"}).status_code == 302


def test_search_in_activity_covers_one_day(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("One")
    log.write(workspace.id, [Entry(activity_type="agent_log", summary=f"found {n}") for n in range(2)])
    ActivityLog.objects.filter(summary="found 0").update(created_at="2020-01-01T00:00:00Z")
    rows = root.get(reverse("admin:activity_activitylog_changelist"), {"q": "found"}).context["cl"].result_list
    assert [row.summary for row in rows] == ["found 1"]


def test_events_are_found_by_part_of_their_type(root: Client, make_workspace: Make) -> None:
    make_workspace("One", model="m")
    rows = root.get(reverse("admin:activity_structureevent_changelist"), {"q": "agent as"}).context["cl"].result_list
    assert [row.event_type for row in rows] == [EventType.AGENT_ASSIGNED]


# --- Filters -----------------------------------------------------------------------------------------

EVENTS = "admin:activity_structureevent_changelist"


def event(workspace: Workspace, kind: str, actor: str, at: str) -> StructureEvent:
    made = StructureEvent.objects.create(
        event_type=kind, workspace_id=workspace.id, actor=actor, payload={}, created_at=at
    )
    return StructureEvent.objects.get(id=made.id)


@pytest.fixture
def history(make_workspace: Make) -> dict[str, StructureEvent]:
    """Three events that differ in type, workspace, actor and time."""
    scout, reader = make_workspace("Web Scout"), make_workspace("Paper Reader")
    now = timezone.now()
    return {
        "old": event(scout, "WORKSPACE_PAUSED", "operator:ada", "2020-01-01T12:00:00Z"),
        "recent": event(reader, "WORKSPACE_OFFLINE", "supervisor", (now - timedelta(hours=5)).isoformat()),
        "own": event(scout, "WORKSPACE_DEGRADED", f"workspace:{scout.id}", (now - timedelta(days=3)).isoformat()),
    }


def found(client: Client, history: dict[str, StructureEvent], **query: str) -> set[str]:
    listed = {row.pk for row in client.get(reverse(EVENTS), query).context["cl"].result_list}
    return {name for name, one in history.items() if one.pk in listed}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, {"old", "recent", "own"}),
        ({"workspace": "scout"}, {"old", "own"}),
        ({"workspace": "nobody"}, set()),
        ({"workspace": "%"}, set()),
        ({"actor": "ada"}, {"old"}),
        ({"actor": "operator:ada"}, {"old"}),
        ({"actor": " supervisor "}, {"recent"}),
        ({"actor": "ad"}, set()),
        ({"type": "WORKSPACE_PAUSED"}, {"old"}),
        ({"since": "1d"}, {"recent"}),
        ({"since": "7d"}, {"recent", "own"}),
        ({"since": "1h"}, set()),
        ({"since": "2020-01-01T11:59:59", "until": "2020-01-01T12:00:01"}, {"old"}),
        ({"since": "2020-01-01T12:00", "until": "2020-01-02T00:00"}, set()),
        ({"until": "2020-01-01T12:00"}, set()),
        ({"since": "2020-01-02T00:00"}, {"recent", "own"}),
        ({"workspace": "scout", "since": "7d", "actor": ""}, {"own"}),
        ({"workspace": "scout", "actor": "ada", "since": "", "until": ""}, {"old"}),
    ],
)
def test_filters_select_rows(
    root: Client, history: dict[str, StructureEvent], query: dict[str, str], names: set[str]
) -> None:
    assert found(root, history, **query) == names


def test_workspaces_and_agents_are_found_by_id(root: Client, history: dict[str, StructureEvent]) -> None:
    scout = str(history["own"].workspace_id)
    assert found(root, history, workspace=scout) == {"old", "own"}
    assert found(root, history, workspace_id=scout) == {"old", "own"}
    assert found(root, history, actor=scout) == {"own"}


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
@pytest.mark.parametrize(
    "query",
    [
        {"since": "x"}, {"until": "2026-13-01T00:00"}, {"workspace": "a\x00"}, {"workspace_id": "x"},
        {"since": "\x00"}, {"until": "2026-01-01T25:00"},
    ],
)  # fmt: skip
def test_malformed_filters_are_dropped(root: Client, db: None, name: str, query: dict[str, str]) -> None:
    answer = root.get(reverse(f"admin:{name}_changelist"), query)
    assert (answer.status_code, answer["Location"]) == (302, reverse(f"admin:{name}_changelist"))


def test_a_filter_keeps_the_others_and_drops_the_page(root: Client, history: dict[str, StructureEvent]) -> None:
    query = {"actor": "ada", "since": "7d", "type": "WORKSPACE_PAUSED", "page_before": "99"}
    bar = root.get(reverse(EVENTS), query).context["cl"].bar
    assert [(chip.label, chip.url) for chip in bar.chips] == [
        ("Actor: ada", "?since=7d&type=WORKSPACE_PAUSED"),
        ("Type: Workspace Paused", "?actor=ada&since=7d"),
        ("Time after 7d ago", "?actor=ada&type=WORKSPACE_PAUSED"),
    ]
    assert bar.hidden == []


@pytest.mark.parametrize("query", [{}, {"actor": "ada"}, {"type": "WORKSPACE_PAUSED"}])
def test_a_page_is_one_query_on_the_log(
    root: Client, history: dict[str, StructureEvent], query: dict[str, str]
) -> None:
    ran = [sql for sql in executed_sql(root, reverse(EVENTS), **query) if '"structure_events"."payload"' in sql]
    assert len(ran) == 1
    assert "LIMIT 51" in ran[0]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"actor": "operator:ada"}, "structure_events_actor_seq_idx"),
        ({"type": "WORKSPACE_PAUSED"}, "structure_events_event_type_seq_idx"),
        ({"until": "2020-01-02T00:00"}, "structure_events_created_at_idx"),
        ({"workspace_id": "0190a0a0-0000-7000-8000-000000000000"}, "structure_events_workspace_id_seq_idx"),
    ],
)
def test_selective_filters_use_an_index(
    root: Client, history: dict[str, StructureEvent], query: dict[str, str], index: str
) -> None:
    """Among 20,000 other events."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO structure_events (event_type, workspace_id, actor, payload)"
            " SELECT 'WORKSPACE_ONLINE', gen_random_uuid(), 'workspace:' || n, '{}' FROM generate_series(1, 20000) n"
        )
        cursor.execute("ANALYZE structure_events")
        (sql,) = (sql for sql in executed_sql(root, reverse(EVENTS), **query) if "LIMIT 51" in sql)
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan


def test_an_event_shows_its_summary_and_links_to_its_moment(root: Client, make_workspace: Make) -> None:
    lead, one = make_workspace("Lead"), make_workspace("One")
    workspaces.update(one.id, {"parent_id": lead.id}, actor="operator:ada")
    moved = last_event(one.id)
    page = root.get(change_url(moved)).content.decode()
    assert "top level" in page
    assert f'href="{change_url(lead)}">Lead</a>' in page
    assert f'href="/?at={moved.seq}&amp;ws={one.id}"' in page


def test_the_page_of_an_entry_is_headed_by_what_it_says(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    log.write(one.id, [Entry(activity_type="a2a_receive", method="message/send", summary="Long " * 50)])
    event = last_event(one.id)
    assert f'<h1 dir="auto">Event {event.seq}: Created</h1>' in root.get(change_url(event)).content.decode()
    [entry] = ActivityLog.objects.all()
    assert '<h1 dir="auto">A2A Receive: message/send</h1>' in root.get(change_url(entry)).content.decode()


def test_the_audit_log_says_in_words_what_happened(root: Client, make_workspace: Make) -> None:
    lead, one = make_workspace("Lead"), make_workspace("One")
    workspaces.update(one.id, {"parent_id": lead.id}, actor="operator:ada")
    workspaces.update_card(one.id, {"name": "x" * 5000}, actor="operator:ada")
    card, moved = root.get(reverse(EVENTS)).context["cl"].rows[:2]
    cells = {cell.name: str(cell.shown) for cell in moved.cells}
    assert [cell.name for cell in moved.cells] == ["when", "what", "workspace", "actor_name", "type_code"]
    assert "Moved" in cells["what"]
    assert "ada" in cells["actor_name"]
    assert cells["type_code"] == "<code>WORKSPACE_MOVED</code>"
    assert all(len(str(cell.shown)) < 1000 for cell in card.cells)


def test_activity_shows_method_duration_and_the_beginning_of_the_error(root: Client, make_workspace: Make) -> None:
    entry = Entry(
        activity_type="a2a_send", method="message/send", duration_ms=1234, status="error", error_detail="e" * 999
    )
    log.write(make_workspace("One").id, [entry])
    (row,) = root.get(reverse("admin:activity_activitylog_changelist")).context["cl"].rows
    cells = {cell.name: str(cell.shown) for cell in row.cells}
    assert "message/send" in cells["kind"]
    assert "e" * 79 + "…" in cells["error"]
    assert "e" * 300 not in cells["error"]
    assert "1,234 ms" in cells["duration"] or "1.2 s" in cells["duration"]


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
def test_the_newest_page_can_be_followed(root: Client, furnished: Workspace, name: str) -> None:
    url, part = reverse(f"admin:{name}_changelist"), 'data-live-part="results"'
    page = root.get(url, {"since": "7d"})
    assert part not in page.content.decode()
    assert page.context["cl"].follow_link.url == "?follow=1&since=7d"
    followed = root.get(url, {"since": "7d", "follow": "1"})
    assert part in followed.content.decode()
    assert followed.context["cl"].follow_link.url == "?since=7d"
    position = f"{timezone.now().isoformat()}~{furnished.id}" if "log" in name else "99999"
    older = root.get(url, {"follow": "1", "page_before": position})
    assert part not in older.content.decode()
    assert older.context["cl"].follow_link is None
