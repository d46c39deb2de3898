"""Replay of the log: it gives the tables, repairs them, and shows the organisation at earlier positions."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from itertools import combinations, groupby, pairwise
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from activity.models import StructureEvent
from activity.wire import JSONRenderer
from registry.models import Agent, Workspace
from registry.organisation import pausing, rebuild, removal, teams, workspaces
from registry.organisation.teams import Member
from registry.structure import history, projection

Make = Callable[..., Workspace]


@pytest.fixture
def busy(make_workspace: Make) -> list[Workspace]:
    """A small organisation with several kinds of events."""
    top = make_workspace("top", model="m")
    child = make_workspace("child", parent_id=top.id)
    removed = make_workspace("removed", parent_id=child.id)
    workspaces.register(child.id, url="http://c:1", agent_card={"name": "c", "n": 1.0}, held=True, enrolment_id=None)
    workspaces.update(child.id, {"name": "renamed", "role": "QA"}, actor="test")
    pausing.pause(top.id, actor="test")
    removal.remove(removed.id, actor="test", confirm=True, forward_to=child.id)
    return [top, child, removed]


def rebuild_command(option: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("rebuild", f"--{option}", stdout=out, stderr=StringIO())
    except SystemExit as stop:
        return int(str(stop.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_replay_finds_no_difference(busy: list[Workspace]) -> None:
    assert rebuild_command("check") == (0, f"{StructureEvent.objects.count()} events, 0 rows different\n")


DAMAGE = {
    "a changed name": "UPDATE workspaces SET name = 'tampered' WHERE name = 'renamed'",
    "a changed status": "UPDATE workspaces SET status = 'removed' WHERE name = 'top'",
    "a lost parent": "UPDATE workspaces SET parent_id = NULL WHERE name = 'renamed'",
    "a changed card": "UPDATE workspaces SET agent_card = '{}' WHERE name = 'renamed'",
    "an extra workspace": "INSERT INTO workspaces (name) VALUES ('intruder')",
    "a lost agent": "DELETE FROM agents",
    "an extra agent": "INSERT INTO agents (workspace_id, model) SELECT id, 'x' FROM workspaces WHERE name = 'renamed'",
    "a lost workspace": "DELETE FROM workspaces WHERE name = 'removed'",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_repaired(busy: list[Workspace], damage: str) -> None:
    before = list(Workspace.objects.order_by("id").values()), list(Agent.objects.order_by("id").values())
    with connection.cursor() as cursor:
        cursor.execute(damage)
    code, text = rebuild_command("check")
    assert (code, "1 rows different" in text) == (1, True), text
    assert rebuild_command("check") == (code, text), "checking changes nothing"
    assert rebuild_command("fix")[0] == 0
    assert rebuild_command("check")[0] == 0
    after = list(Workspace.objects.order_by("id").values()), list(Agent.objects.order_by("id").values())
    assert [_structural(row) for row in after[0]] == [_structural(row) for row in before[0]]
    assert after[1] == before[1]


def _structural(row: Any) -> dict[str, object]:
    return {name: row[name] for name in rebuild.STRUCTURAL[Workspace]}


@pytest.mark.django_db(transaction=True)
def test_a_repair_enables_the_triggers_again(busy: list[Workspace]) -> None:
    rebuild_command("fix")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D' AND tgname = ANY(%s)", [list(rebuild.GUARDS)]
        )
        assert {row[0] for row in cursor.fetchall()} == set(rebuild.GUARDS)


@pytest.mark.django_db(transaction=True)
def test_a_repair_gives_each_online_workspace_a_new_lease(make_workspace: Make) -> None:
    """No heartbeat could be stored during the repair, and a row that was missing had no lease."""
    kept, lost, awaiting = (make_workspace(name) for name in ("kept", "lost", "awaiting"))
    for workspace in (kept, lost):
        workspaces.register(workspace.id, url="u", agent_card={"name": "a"}, held=True, enrolment_id=None)
    paused = make_workspace("paused")
    pausing.pause(paused.id, actor="test")
    Workspace.objects.update(lease_expires_at="2000-01-01T00:00:00Z")
    Workspace.objects.filter(id__in=[lost.id, awaiting.id]).delete()
    rebuild_command("fix")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, extract(epoch FROM lease_expires_at - now()) FROM workspaces")
        left = dict(cursor.fetchall())
    for workspace in (kept, lost):
        assert float(left[workspace.id]) == pytest.approx(60, abs=10)
    assert left[awaiting.id] is None
    assert left[paused.id] < 0


def test_the_current_snapshot_has_the_rows_of_the_list(busy: list[Workspace], as_viewer: APIClient) -> None:
    snapshot = as_viewer.get("/canvas/snapshot").json()
    assert snapshot["workspaces"] == as_viewer.get("/workspaces").json()
    assert snapshot["seq"] == StructureEvent.objects.latest("seq").seq
    assert snapshot["viewport"] == {"x": 0.0, "y": 0.0, "zoom": 1.0}


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_at_each_position_and_time(busy: list[Workspace], as_viewer: APIClient) -> None:
    names = {}
    before = 0
    for events in transactions():
        event = events[-1]
        for at in (*(str(one.seq) for one in events), event.created_at.isoformat()):
            past = as_viewer.get("/canvas/snapshot", {"at": at}).json()
            assert (past["seq"], past["before"]) == (event.seq, before)
        for at in (one.created_at.isoformat() for one in events[:-1]):
            assert as_viewer.get("/canvas/snapshot", {"at": at}).json()["seq"] == before
        before = event.seq
        names[event.event_type] = [(row["name"], row["status"]) for row in past["workspaces"]]
        assert all(row["last_heartbeat_at"] is None and row["active_tasks"] is None for row in past["workspaces"])
    assert names["WORKSPACE_ONLINE"] == [("top", "provisioning"), ("child", "online"), ("removed", "provisioning")]
    assert names["WORKSPACE_REMOVED"] == [("top", "paused"), ("renamed", "paused")]
    assert as_viewer.get("/canvas/snapshot?at=0").json()["workspaces"] == []
    now = as_viewer.get("/workspaces").json()
    live = {
        "active_tasks",
        "last_error_rate",
        "last_sample_error",
        "uptime_seconds",
        "current_task",
        "last_heartbeat_at",
    }
    latest = as_viewer.get("/canvas/snapshot", {"at": datetime.now(UTC).isoformat()}).json()["workspaces"]
    assert [{k: v for k, v in row.items() if k not in live} for row in latest] == [
        {k: v for k, v in row.items() if k not in live} for row in now
    ]


def transactions() -> list[list[StructureEvent]]:
    """The log, by transaction."""
    events = StructureEvent.objects.order_by("seq")
    return [list(together) for _, together in groupby(events, lambda event: event.transaction_id)]


@pytest.mark.django_db(transaction=True)
def test_no_moment_is_between_the_events_of_a_transaction(make_workspace: Make, as_viewer: APIClient) -> None:
    """Half an expanded team was never seen by anybody."""
    lead = make_workspace("lead")
    teams.expand(lead.id, [Member(name=name) for name in ("a", "b", "c")], actor="test")
    removal.remove(lead.id, actor="test", confirm=True)
    sizes, diffs, explained = set(), set(), set()
    for event in StructureEvent.objects.order_by("seq"):
        for at in (str(event.seq), event.created_at.isoformat()):
            sizes.add(len(as_viewer.get("/canvas/snapshot", {"at": at}).json()["workspaces"]))
            diffs.add(len(as_viewer.get("/events/diff", {"from": "0", "to": at}).json()["changes"]))
            query = {"caller": str(lead.id), "target": str(lead.id), "at": at}
            explained.add(as_viewer.get("/registry/explain", query).json()["seq"])
    assert (sizes, diffs) == ({0, 1, 4}, {0, 1, 4})
    assert explained == {together[-1].seq for together in transactions()}


def test_events_of_older_releases_belong_together_if_they_have_the_same_time(
    make_workspace: Make, as_viewer: APIClient
) -> None:
    ids = [make_workspace(name).id for name in ("a", "b", "c")]
    with connection.cursor() as cursor:
        for at, members in (("2020-01-01", ids[:2]), ("2020-01-02", ids[2:])):
            cursor.execute(
                """
                INSERT INTO structure_events (event_type, workspace_id, payload, actor, created_at, transaction_id)
                SELECT 'WORKSPACE_OFFLINE', id, '{"from": "provisioning"}', 'test', %s, NULL FROM unnest(%s) AS id
                """,
                [at, members],
            )
    made, first, second, third = StructureEvent.objects.order_by("seq").values_list("seq", flat=True)[2:]
    moments = [history.moment(seq) for seq in (made, first, second, third)]
    assert [(one.before, one.seq) for one in moments] == [(0, made), (made, second), (made, second), (second, third)]


@pytest.mark.django_db(transaction=True)
def test_replays_show_only_the_last_card_and_read_no_other(make_workspace: Make, as_viewer: APIClient) -> None:
    """The card may come with a registration, alone, or among other changes; equal ones are no difference."""
    own = make_workspace("own").id
    cards: list[Any] = [{"name": name, "size": 10**20, "n": 1.0} for name in ("first", "second", "third")]
    workspaces.register(own, url="remote://x", agent_card=cards[0], held=True, enrolment_id=None)
    workspaces.update_card(own, cards[1], actor="test")
    for changed in ([cards[1], cards[2]], [cards[2], cards[2]]):
        payload = {"changes": {"role": [None, None], "agent_card": changed}}
        StructureEvent.objects.create(event_type="WORKSPACE_UPDATED", workspace_id=own, payload=payload, actor="test")
    positions = list(StructureEvent.objects.order_by("seq").values_list("seq", flat=True))
    shown = [as_viewer.get(f"/canvas/snapshot?at={at}").json()["workspaces"][0]["agent_card"] for at in positions]
    assert shown == [None, *cards, cards[2]]
    for since, until in pairwise(range(5)):
        changes = as_viewer.get(f"/events/diff?from={positions[since]}&to={positions[until]}").json()["changes"]
        differing = [change["fields"]["agent_card"] for change in changes]
        assert differing == ([[shown[since], shown[until]]] if until < 4 else [])
    replay = [event.payload for event in history.with_lean_payloads(history.lean(StructureEvent.objects.all()))]
    assert "third" not in str(replay)
    assert "second" not in str(replay)


@pytest.mark.parametrize("at", ["x", "-1", "2026-13-01", "99999999999999999999", "0001-01-01T00:00:00+01:00"])
def test_an_invalid_moment_is_refused(as_viewer: APIClient, at: str) -> None:
    assert as_viewer.get("/canvas/snapshot", {"at": at}).status_code == 400


@pytest.mark.parametrize("offset", ["+16:00", "-23:59"])
def test_a_moment_may_have_an_offset_that_postgresql_does_not_know(as_viewer: APIClient, offset: str) -> None:
    assert as_viewer.get("/canvas/snapshot", {"at": f"2026-01-31T12:00:00{offset}"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_diff_has_what_changed_between_two_moments(busy: list[Workspace], as_viewer: APIClient) -> None:
    top, child, removed = busy
    seqs = list(StructureEvent.objects.order_by("seq").values_list("seq", flat=True))
    everything = as_viewer.get(f"/events/diff?from=0&to={seqs[-1]}").json()
    assert {row["name"]: row["change"] for row in everything["changes"]} == {"top": "added", "renamed": "added"}
    created = StructureEvent.objects.filter(workspace_id=removed.id).order_by("seq").first()
    assert created is not None
    later = as_viewer.get(f"/events/diff?from={created.seq}").json()["changes"]
    assert {row["workspace_id"]: row["change"] for row in later} == {
        str(top.id): "changed",
        str(child.id): "changed",
        str(removed.id): "removed",
    }
    changed = next(row for row in later if row["workspace_id"] == str(child.id))["fields"]
    assert changed["name"] == ["child", "renamed"]
    assert changed["status"] == ["provisioning", "paused"]
    assert as_viewer.get(f"/events/diff?from={seqs[-1]}&to={seqs[0]}").status_code == 400
    assert as_viewer.get("/events/diff").status_code == 400
    assert as_viewer.get(f"/events/{uuid4()}").json() == []


@pytest.mark.django_db(transaction=True)
def test_diff_equals_the_difference_of_two_full_replays(busy: list[Workspace]) -> None:
    """diff() itself replays only the workspaces that have events in between, and no cards that it does not show."""
    moments = [history.moment(together[-1].seq) for together in transactions()]
    for since, until in combinations(moments, 2):
        before, after = (
            projection.fold(StructureEvent.objects.filter(seq__lte=one.seq).order_by("seq")).workspaces
            for one in (since, until)
        )
        for change in history.diff(since, until):
            one = change["workspace_id"]
            for name, (old, new) in change["fields"].items():
                assert plain((old, new)) == plain((before[one][name] if one in before else None, after[one][name]))
        changed = {change["workspace_id"] for change in history.diff(since, until)}
        assert changed == {i for i, row in after.items() if differs(before.get(i), row)}


def plain(value: Any) -> Any:
    """What a client reads."""
    return orjson.loads(JSONRenderer().render(value))


def differs(old: dict[str, Any] | None, new: dict[str, Any]) -> bool:
    was_active = [row is not None and row["status"] != "removed" for row in (old, new)]
    compared = [name for name in new if name not in history.NOT_IN_DIFF]
    return any(was_active) and any(old is None or old[name] != new[name] for name in compared)


def test_explain_replays_only_the_two_workspaces(
    busy: list[Workspace], as_viewer: APIClient, make_workspace: Make
) -> None:
    top, child, _removed = busy
    for number in range(20):
        make_workspace(str(number))
    with CaptureQueriesContext(connection) as captured:
        answer = as_viewer.get(f"/registry/explain?caller={top.id}&target={child.id}").json()
    assert (answer["allowed"], answer["rule"]) == (True, "child")
    (replay,) = (query["sql"] for query in captured.captured_queries if "DECLARE" in query["sql"])
    assert top.id.hex in replay
    assert child.id.hex in replay
