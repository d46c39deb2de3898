"""Exports: exactly what the filters select, safe in spreadsheets, and never cut short without a word."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activity import clock, log
from activity.log import Entry
from activity.models import ActivityLog, StructureEvent
from registry.admin.lists import exports
from registry.admin.lists.exports import Export
from registry.models import Workspace
from tests.registry.admin.pages import WORKSPACES, Make, client_with, shown_messages
from tests.registry.organisation import organisations

LISTS = ("registry_workspace", "activity_activitylog", "activity_structureevent")


def url_of(name: str, kind: str = "") -> str:
    return reverse(f"admin:{name}_export{kind and f'_{kind}'}")


def content(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return b"".join(answer.streaming_content).decode()


def ndjson(client: Client, name: str, **query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(client.get(url_of(name, "ndjson"), query)).splitlines()]


def rows_of_csv(client: Client, name: str, **query: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(client.get(url_of(name, "csv"), query)), newline="")))


@pytest.mark.parametrize("seed", range(2))
def test_list_and_export_have_what_a_loop_over_the_rows_finds(root: Client, seed: int) -> None:
    """The same queries and the same expectation as of GET /workspaces."""
    organisations.create(seed)
    for query in organisations.queries(seed):
        expected = organisations.expected(query)
        listed = root.get(reverse(WORKSPACES), query).context["cl"].queryset
        assert {str(pk) for pk in listed.values_list("pk", flat=True)} == expected, query
        assert {row["id"] for row in ndjson(root, "registry_workspace", **query)} == expected, query


def test_batches_follow_each_other_without_gap_or_overlap(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 7)
    for number in range(20):
        made = make_workspace(f"W{number}", role='A\nB, "C"')
        log.write(made.id, [Entry(activity_type="agent_log", summary=f"S{number}")])
    Workspace.objects.update(created_at="2026-01-01T00:00:00Z")  # only the id tells them apart
    ActivityLog.objects.update(created_at="2026-01-01T00:00:00Z")
    models: tuple[Any, ...] = (Workspace, ActivityLog, StructureEvent)
    for name, model in zip(LISTS, models, strict=True):
        expected = sorted(str(pk) for pk in model.objects.values_list("id", flat=True))
        assert sorted(row["id"] for row in ndjson(root, name)) == expected
        assert sorted(row["id"] for row in rows_of_csv(root, name)) == expected
    assert {row["role"] for row in rows_of_csv(root, "registry_workspace")} == {'A\nB, "C"'}


def test_memory_is_bounded_where_agents_report_large_texts(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    large = Entry(activity_type="a2a_receive", status="error", summary="s" * 60_000, error_detail="e" * 60_000)
    for _ in range(3):
        log.write(one.id, [large] * 50)
    answer: Any = root.get(url_of("activity_activitylog", "ndjson"))
    parts = list(answer.streaming_content)
    assert b"".join(parts).count(b"\n") == 150
    assert max(map(len, parts)) < 16 * 1024 * 1024


def test_filters_of_the_logs_select_what_is_exported(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    for workspace, status in ((one, "error"), (one, "ok"), (other, "error")):
        log.write(workspace.id, [Entry(activity_type="agent_log", status=status, summary=f"{workspace} {status}")])
    ActivityLog.objects.filter(summary="Other error").update(created_at=clock.now() - timedelta(days=2))

    def found(**query: str) -> set[str]:
        return {row["summary"] for row in ndjson(root, "activity_activitylog", **query)}

    assert found(status="error,timeout") == {"One error", "Other error"}
    assert found(status="error", since="24h") == {"One error"}
    assert found(workspace="othe") == found(until="24h") == {"Other error"}
    assert found(workspace_id=str(one.id), status="ok") == found(q="ok") == {"One ok"}
    events = ndjson(root, "activity_structureevent", workspace_id=str(one.id))
    assert [event["payload"]["name"] for event in events] == ["One"]


@pytest.mark.parametrize(
    "start",
    [
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        " =",
        "\u00a0=",
        " \t+",
        "\ufeff=",
        "\u200b@",
        "\uff1d",
        "\uff0b",
        "\uff0d",
        "\uff20",
    ],
)
def test_a_cell_that_looks_like_a_formula_begins_with_an_apostrophe(
    root: Client, make_workspace: Make, start: str
) -> None:
    workspace = make_workspace("Formula")
    Workspace.objects.filter(id=workspace.id).update(current_task=f"{start}HYPERLINK(1)", last_error_rate=0.5)
    (row,) = rows_of_csv(root, "registry_workspace")
    assert row["current_task"] == f"'{start}HYPERLINK(1)"
    assert row["last_error_rate"] == "0.5"
    assert ndjson(root, "registry_workspace")[0]["current_task"] == f"{start}HYPERLINK(1)"


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_an_error_in_the_middle_is_the_last_line(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make_workspace("One")
    batches = Export.batches

    def fail_after_one(self: Export, rows: Any) -> Any:
        yield from batches(self, rows)
        raise DatabaseError("gone")

    monkeypatch.setattr(Export, "batches", fail_after_one)
    lines = content(root.get(url_of("registry_workspace", kind))).splitlines()
    assert "One" in lines[-2]
    assert "not complete: the export stopped after 1 rows" in lines[-1]


def test_the_size_is_said_before_and_counting_is_bounded(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_workspace(f"W{number}", tier=1 + number // 2)
    page = root.get(url_of("registry_workspace"), {"tier": "1"})
    assert "2 rows" in page.content.decode()
    assert f'{url_of("registry_workspace", "csv")}?tier=1"' in page.content.decode()
    monkeypatch.setattr(exports, "MOST_COUNTED", 2)
    with CaptureQueriesContext(connection) as captured:
        assert "More than 2 rows" in root.get(url_of("registry_workspace")).content.decode()
    assert any("LIMIT 3" in query["sql"] for query in captured.captured_queries)


def test_the_file_is_named_with_the_date(root: Client, make_workspace: Make) -> None:
    make_workspace("One")
    answer = root.get(url_of("registry_workspace", "csv"))
    assert f'filename="workspaces-{clock.now():%Y-%m-%d}.csv"' in answer["Content-Disposition"]
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("name", LISTS)
def test_an_export_needs_the_permission_of_its_list(
    root: Client, make_workspace: Make, django_user_model: type[User], name: str
) -> None:
    make_workspace("One")
    model = name.partition("_")[2]
    stranger, allowed = (client_with(django_user_model, codename=f"{verb}_{model}") for verb in ("add", "view"))
    for kind in ("", "csv", "ndjson"):
        assert stranger.get(url_of(name, kind)).status_code == 403
        assert allowed.get(url_of(name, kind)).status_code == 200
        assert Client().get(url_of(name, kind)).status_code == 302


@pytest.mark.parametrize("query", ["tier=9", "name__regex=x", "heartbeat_after=soon"])
def test_what_the_list_does_not_offer_is_not_exported_without_it(
    root: Client, make_workspace: Make, query: str
) -> None:
    make_workspace("One")
    for kind in ("", "csv"):
        answer = root.get(f"{url_of('registry_workspace', kind)}?{query}")
        assert (answer.status_code, answer["Location"]) == (302, reverse(WORKSPACES))
    assert "without filters" in shown_messages(root.get(reverse(WORKSPACES)))[0]


def test_the_list_leads_to_the_export_of_its_filters(root: Client, make_workspace: Make) -> None:
    make_workspace("One")
    page = root.get(reverse(WORKSPACES), {"tier": "1", "o": "2", "p": "1"}).content.decode()
    assert f'href="{url_of("registry_workspace")}?tier=1">Export…' in page
