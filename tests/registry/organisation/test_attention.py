"""What needs somebody, and what does not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activity.events import NewEvent, record
from activity.models import EventType, StructureEvent
from registry.config import context, files
from registry.identity import enrolment, tokens
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Workspace
from registry.organisation import workspaces
from registry.organisation.attention import Attention, Kind, attention, condition
from registry.secrets import store
from registry.structure import projection

Make = Callable[..., Workspace]
KEYS = ("0" * 64, "1" * 64)


def now() -> datetime:
    return datetime.now(UTC)


def problems(found: Attention, workspace: Workspace) -> dict[str, str]:
    return {one.kind: one.why for item in found.items if item.workspace_id == workspace.id for one in item.problems}


def tell(workspace: Workspace, kind: EventType, **payload: Any) -> None:
    event = NewEvent(event_type=kind, workspace_id=workspace.id, payload={"from": "online", **payload})
    projection.apply(record([event], actor="test"))


def test_who_is_well_needs_nobody(make_workspace: Make) -> None:
    make_workspace(status="online")
    enrolment.issue(make_workspace().id)
    tokens.issue_workspace_token(make_workspace(status="online").id, expires_at=now() + timedelta(days=8))
    assert attention() == Attention(count=0, kinds={}, items=[], global_secrets=[])


def test_each_status_says_why_and_since_when(make_workspace: Make) -> None:
    failed, offline, degraded = make_workspace(), make_workspace(), make_workspace(status="online")
    tell(failed, EventType.WORKSPACE_PROVISION_FAILED, error="image missing")
    tell(offline, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    heartbeats.flush([Beat(workspace_id=degraded.id, error_rate=0.7, sample_error="timeout")])
    found = attention()
    assert problems(found, failed) == {"failed": "image missing"}
    assert problems(found, offline) == {"offline": "lease expired"}
    assert problems(found, degraded) == {"degraded": "70% of its calls fail: timeout"}
    assert all(one.at is not None for item in found.items for one in item.problems)
    assert [item.workspace_id for item in found.items] == [degraded.id, offline.id, failed.id]
    assert (found.count, dict(found.kinds)) == (3, {Kind.FAILED: 1, Kind.OFFLINE: 1, Kind.DEGRADED: 1})


def test_a_wedged_runtime_is_said(make_workspace: Make) -> None:
    workspace = make_workspace(status="online")
    heartbeats.flush([Beat(workspace_id=workspace.id, is_wedged=True, sample_error="no answer")])
    assert problems(attention(), workspace) == {"degraded": "its runtime is wedged: no answer"}


@pytest.mark.parametrize(
    ("column", "minutes", "others", "kind", "why"),
    [
        ("refused_at", -1, {"refused_count": 41, "refused_reason": "token revoked"}, "refused", "41 times"),
        ("refused_at", -1, {"refused_count": 1, "refused_reason": "no token"}, "refused", "once: no token"),
        ("flapping_until", 5, {}, "flapping", "offline more than"),
        ("enrolment_expires_at", -5, {}, "enrolment_expired", "no agent has registered"),
    ],
)
def test_other_problems(
    make_workspace: Make, column: str, minutes: int, others: dict[str, Any], kind: str, why: str
) -> None:
    workspace = make_workspace()
    Workspace.objects.filter(id=workspace.id).update(**{column: now() + timedelta(minutes=minutes)}, **others)
    found = problems(attention(), workspace)
    assert set(found) == {kind}
    assert why in found[kind]


@pytest.mark.parametrize("status", ["paused", "removed"])
def test_a_workspace_that_was_stopped_on_purpose_needs_nobody(make_workspace: Make, status: str) -> None:
    make_workspace(status=status)
    Workspace.objects.update(refused_at=now(), refused_count=1, refused_reason="no token")
    assert attention().count == 0


def test_several_problems_of_one_are_one_item(make_workspace: Make) -> None:
    workspace = make_workspace(status="offline")
    Workspace.objects.update(refused_at=now(), refused_count=2, refused_reason="token expired")
    found = attention()
    assert found.count == 1
    assert list(problems(found, workspace)) == ["offline", "refused"]


def test_an_agents_last_token_that_expires_soon(make_workspace: Make) -> None:
    workspace = make_workspace(status="online")
    later = now() + timedelta(days=6)
    tokens.issue_workspace_token(workspace.id, expires_at=later)
    tokens.issue_workspace_token(workspace.id, expires_at=now() + timedelta(days=3))
    [item] = attention().items
    [problem] = item.problems
    assert (problem.kind, problem.at) == (Kind.TOKEN_EXPIRES, later)
    tokens.issue_workspace_token(workspace.id)
    assert attention().count == 0, "another one goes on"


def test_a_token_that_was_revoked_expires_for_nobody(make_workspace: Make) -> None:
    workspace = make_workspace(status="online")
    issued = tokens.issue_workspace_token(workspace.id, expires_at=now() + timedelta(days=3))
    tokens.revoke_token(workspace.id, issued.id)
    assert attention().count == 0


def test_secrets_that_no_key_opens(make_workspace: Make, settings: Any) -> None:
    workspace, other = make_workspace(status="online"), make_workspace(status="online")
    settings.SECRETS_ENCRYPTION_KEY = KEYS[0]
    store.set_for_workspace(workspace.id, "B", "v", actor="test")
    store.set_for_workspace(workspace.id, "A", "v", actor="test")
    store.set_for_all("SHARED", "v", actor="test")
    assert attention().count == 0
    settings.SECRETS_ENCRYPTION_KEY = KEYS[1]
    store.set_for_workspace(other.id, "A", "v", actor="test")
    found = attention()
    assert problems(found, workspace) == {"secrets": "no key opens A, B"}
    assert (found.count, found.global_secrets) == (1, ["SHARED"])
    settings.SECRETS_ENCRYPTION_KEY = ",".join(KEYS)
    assert (attention().count, attention().global_secrets) == (0, [])
    settings.SECRETS_ENCRYPTION_KEY = ""
    assert attention().count == 2


def test_required_variables_that_no_secret_sets(make_workspace: Make) -> None:
    workspace, other = make_workspace(status="online"), make_workspace(status="online")
    required = b"env: {required: [B_KEY, A_KEY, SHARED], optional: [C_KEY]}"
    files.write(workspace.id, "config.yaml", required, actor="test")
    files.write(other.id, "config.yaml", b"env: {optional: [C_KEY]}", actor="test")
    store.set_for_all("SHARED", "v", actor="test")
    store.set_for_workspace(other.id, "A_KEY", "v", actor="test")
    found = attention()
    assert problems(found, workspace) == {"missing_environment": "no secret sets A_KEY, B_KEY"}
    assert (found.count, found.kinds[Kind.ENVIRONMENT]) == (1, 1)
    assert context.missing_environment(workspace.id) == ["B_KEY", "A_KEY"]
    assert [problem.kind for problem in condition(workspace.id).problems] == [Kind.ENVIRONMENT]
    store.set_for_workspace(workspace.id, "A_KEY", "v", actor="test")
    assert problems(attention(), workspace) == {"missing_environment": "no secret sets B_KEY"}
    files.write(workspace.id, "config.yaml", b"env: {}", actor="test")
    assert (attention().count, context.missing_environment(workspace.id)) == (0, [])


def test_everybody_is_counted_and_the_latest_are_shown(make_workspace: Make) -> None:
    workspaces = [make_workspace(str(n)) for n in range(5)]
    for workspace in workspaces:
        tell(workspace, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    found = attention(limit=2)
    assert (found.count, found.kinds[Kind.OFFLINE]) == (5, 5)
    assert [item.name for item in found.items] == ["4", "3"]


def test_one_workspace_is_judged_by_the_same_rules(make_workspace: Make) -> None:
    degraded, fine = make_workspace(status="online"), make_workspace(status="online")
    heartbeats.flush([Beat(workspace_id=degraded.id, error_rate=0.7, sample_error="timeout")])
    tokens.issue_workspace_token(degraded.id, expires_at=now() + timedelta(days=1))
    of_all = next(item for item in attention().items if item.workspace_id == degraded.id)
    found = condition(degraded.id)
    assert found.problems == of_all.problems
    assert [one.kind for one in found.problems] == [Kind.DEGRADED, Kind.TOKEN_EXPIRES]
    event = StructureEvent.objects.get(event_type=EventType.WORKSPACE_DEGRADED)
    assert found.beginning is not None
    assert (found.beginning.seq, found.beginning.event_id, found.beginning.at) == (
        event.seq,
        event.id,
        event.created_at,
    )
    assert condition(fine.id).problems == []


def test_a_status_does_not_begin_anew_when_the_agent_registers_again(make_workspace: Make) -> None:
    workspace = make_workspace()
    for name in ("first", "second"):
        workspaces.register(workspace.id, url="http://a:1", agent_card={"name": name}, held=True, enrolment_id=None)
    first, second = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_ONLINE).order_by("seq")
    beginning = condition(workspace.id).beginning
    assert beginning is not None
    assert beginning.seq == first.seq < second.seq
