"""Summaries of events, without a database."""

from typing import Any
from uuid import UUID

import pytest

from activity.models import EventType, StructureEvent
from registry.admin.events import event_summaries
from registry.admin.events.values import MAX_TEXT, Difference

ME, LEAD, HEIR = (UUID(int=n) for n in (1, 2, 3))
NAMES = {LEAD: "Lead", HEIR: "Heir"}
TYPES = list(EventType)


def event(kind: str, payload: Any = None, *, actor: str = "operator:op") -> StructureEvent:
    return StructureEvent(seq=1, event_type=kind, workspace_id=ME, payload=payload, actor=actor)


def summary_of(kind: str, payload: Any) -> tuple[str, list[str], str]:
    """Returns the title, each difference as text, and the detail."""
    summary = event_summaries.summarize(event(kind, payload), NAMES)
    return summary.title, [shown(one) for one in summary.differences], summary.detail


def shown(one: Difference) -> str:
    before = f"{one.before.text} → " if one.before else ""
    return f"{one.field}: {before}{one.after.text}"


@pytest.mark.parametrize(
    ("actor", "label"),
    [
        ("operator:op", "op"),
        ("operator:op#7", "op"),
        ("operator:a:b", "a:b"),
        (f"workspace:{ME}", "the agent itself"),
        (f"workspace:{LEAD}", "the agent of Lead"),
        (f"workspace:{UUID(int=9)}", f"the agent of {UUID(int=9)}"),
        ("supervisor", "supervisor"),
        ("command:import", "command import"),
        ("sql", "sql"),
        ("operator:", "operator:"),
        ("", ""),
    ],
)
def test_actors_have_readable_labels(actor: str, label: str) -> None:
    assert event_summaries.actor_label(actor, ME, NAMES) == label


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (
            "WORKSPACE_PROVISIONING",
            {"name": "A", "role": None, "tier": 2, "runtime": "x", "parent_id": str(LEAD)},
            ("Created", ["name: A", "tier: 2", "runtime: x", "parent: Lead"], ""),
        ),
        ("WORKSPACE_PROVISIONING", {"from": "paused"}, ("Resumed", ["status: paused → provisioning"], "")),
        ("WORKSPACE_PROVISIONING", {"from": "failed"}, ("Restarted", ["status: failed → provisioning"], "")),
        (
            "WORKSPACE_ONLINE",
            {"from": "provisioning", "url": "http://a", "agent_card": {"name": "A"}},
            ("Registered", ["status: provisioning → online", "url: http://a"], ""),
        ),
        ("WORKSPACE_ONLINE", {"from": "degraded"}, ("Online", ["status: degraded → online"], "")),
        ("WORKSPACE_ONLINE", {"from": "online", "url": "http://b"}, ("Registered again", ["url: http://b"], "")),
        (
            "WORKSPACE_OFFLINE",
            {"from": "online", "reason": "lease expired"},
            ("Went offline", ["status: online → offline"], "lease expired"),
        ),
        (
            "WORKSPACE_DEGRADED",
            {"from": "online", "error_rate": 0.625, "sample_error": "Timeout"},
            ("Degraded", ["status: online → degraded"], "62% of its calls fail: Timeout"),
        ),
        (
            "WORKSPACE_PROVISION_FAILED",
            {"from": "provisioning", "reason": "deadline", "error": "no agent within 600 s"},
            ("Failed to start", ["status: provisioning → failed"], "no agent within 600 s"),
        ),
        ("WORKSPACE_PAUSED", {"from": "online", "name": "A"}, ("Paused", ["status: online → paused"], "")),
        (
            "WORKSPACE_UPDATED",
            {"changes": {"name": ["Old", "New"], "tier": [1, 3], "role": ["Cook", None]}},
            ("Changed name, tier and role", ["name: Old → New", "tier: 1 → 3", "role: Cook → none"], ""),
        ),
        (
            "WORKSPACE_UPDATED",
            {"changes": {"agent_card": [{"name": "A", "version": "1"}, {"name": "A", "version": "2"}]}},
            ("Changed agent card", ["agent card: version: 1 → 2"], ""),
        ),
        (
            "WORKSPACE_UPDATED",
            {"changes": {}, "files": {"config.yaml": ["a" * 64, "b" * 64]}},
            ("Changed config.yaml", ["config.yaml: aaaaaaaaaaaa → bbbbbbbbbbbb"], ""),
        ),
        (
            "WORKSPACE_UPDATED",
            {"changes": {"tier": [1, 2]}, "files": {"a.md": [None, "b" * 64], "b.md": ["b" * 64, None]}},
            (
                "Changed tier and 2 files",
                ["tier: 1 → 2", "a.md: none → bbbbbbbbbbbb", "b.md: bbbbbbbbbbbb → none"],
                "",
            ),
        ),
        (
            "WORKSPACE_UPDATED",
            {"changes": {"forwarded_to": [None, str(HEIR)]}},
            ("Forwarded", ["forwarded to: none → Heir"], ""),
        ),
        (
            "WORKSPACE_UPDATED",
            {"changes": {"forwarded_to": [str(HEIR), None]}},
            ("No longer forwarded", ["forwarded to: Heir → none"], ""),
        ),
        (
            "WORKSPACE_MOVED",
            {"old_parent_id": str(LEAD), "new_parent_id": None},
            ("Moved", ["parent: Lead → top level"], ""),
        ),
        (
            "WORKSPACE_REMOVED",
            {"from": "online", "forwarded_to": str(HEIR), "cascade_deleted": 2, "secrets_deleted": 3},
            (
                "Removed",
                ["status: online → removed", "forwarded to: Heir"],
                "with its team of 2, 3 of its secrets deleted",
            ),
        ),
        (
            "WORKSPACE_EXPANDED",
            {"children": [{"name": "A"}, {"name": "B"}, {"name": "C"}]},
            ("Team members added", [], "A, B and C"),
        ),
        (
            "WORKSPACE_COLLAPSED",
            {"removed_children": ["A"], "removed_sub_workspace_ids": ["1", "2"]},
            ("Team removed", [], "A, and 1 in their teams"),
        ),
        ("AGENT_ASSIGNED", {"model": "claude"}, ("Agent assigned", ["agent: none → claude"], "")),
        (
            "AGENT_REMOVED",
            {"model": "claude", "reason": "too slow"},
            ("Agent removed", ["agent: claude → none"], "too slow"),
        ),
        ("AGENT_REPLACED", {"old_model": "a", "new_model": "b"}, ("Agent replaced", ["agent: a → b"], "")),
        (
            "AGENT_MOVED",
            {"model": "m", "from_workspace_id": str(ME), "to_workspace_id": str(LEAD)},
            ("Agent moved away", ["agent: m → none", f"workspace: {ME} → Lead"], ""),
        ),
        (
            "AGENT_MOVED",
            {"model": "m", "from_workspace_id": str(LEAD), "to_workspace_id": str(ME)},
            ("Agent moved here", ["agent: none → m", f"workspace: Lead → {ME}"], ""),
        ),
        (
            "AGENT_CARD_UPDATED",
            {"old_agent_card": None, "agent_card": {"name": "A"}},
            ("Agent card changed", ["agent card: name: none → A"], ""),
        ),
    ],
)
def test_each_type_has_a_title_differences_and_a_detail(kind: str, payload: Any, expected: Any) -> None:
    assert summary_of(kind, payload) == expected


def test_every_event_type_has_a_summary() -> None:
    assert set(event_summaries.SUMMARIES) == set(EventType.values)


@pytest.mark.parametrize("kind", [*TYPES, "SOMETHING_NEW"])
@pytest.mark.parametrize(
    "payload",
    [
        None, [], "x", 7, {}, {"changes": []}, {"changes": {"name": "x"}}, {"changes": {"forwarded_to": [1, 2, 3]}},
        {"changes": {"forwarded_to": [7, {}]}}, {"from": {}, "parent_id": 7, "forwarded_to": [], "children": 3},
        {"children": [None, {}], "removed_children": [None], "cascade_deleted": "x", "error_rate": "high"},
        {"agent_card": [1], "old_agent_card": {"a": 1}, "model": ["m"], "new_parent_id": "not a uuid"},
    ],
)  # fmt: skip
def test_payloads_of_unexpected_shape_are_summarized(kind: str, payload: Any) -> None:
    odd = event(kind, payload, actor="workspace:nonsense")
    assert event_summaries.mentioned_workspaces(odd) == set()
    assert event_summaries.summarize(odd, {}).title


def test_workspaces_that_the_summary_names_are_mentioned() -> None:
    moved = event("WORKSPACE_MOVED", {"old_parent_id": str(LEAD), "new_parent_id": None}, actor=f"workspace:{HEIR}")
    forwarded = event("WORKSPACE_UPDATED", {"changes": {"forwarded_to": [None, str(HEIR)]}})
    assert event_summaries.mentioned_workspaces(moved) == {LEAD, HEIR}
    assert event_summaries.mentioned_workspaces(forwarded) == {HEIR}


def test_only_workspaces_with_a_known_name_are_linked() -> None:
    known, unknown = (
        event_summaries.summarize(event("WORKSPACE_MOVED", {"old_parent_id": None, "new_parent_id": str(one)}), NAMES)
        for one in (LEAD, UUID(int=9))
    )
    assert known.differences[0].after.workspace_id == LEAD
    assert unknown.differences[0].after.workspace_id is None


def test_long_values_are_truncated() -> None:
    _what, (line,), _detail = summary_of("WORKSPACE_UPDATED", {"changes": {"role": ["x" * 1000, "y"]}})
    assert line == f"role: {'x' * (MAX_TEXT - 1)}… → y"
