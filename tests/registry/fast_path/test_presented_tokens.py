"""commit(): heartbeats and reports with a token are accepted only if it is valid and the workspace's own."""

from collections.abc import Callable
from datetime import timedelta
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from activity import statements
from activity.log import Entry
from activity.models import ActivityLog
from registry.exceptions import BadCredential, NotAllowed, NotFound, Removed
from registry.identity import enrolment, tokens
from registry.identity.tokens import PresentedToken
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.messaging.reports import Report
from registry.models import Workspace, WorkspaceToken
from registry.organisation import removal

Make = Callable[..., Workspace]


def presented_token(text: str) -> PresentedToken:
    presented = tokens.presented_token(text)
    assert presented is not None
    return presented


@pytest.fixture
def scene(make_workspace: Make) -> tuple[Workspace, dict[str, PresentedToken]]:
    """A workspace and tokens of every kind."""
    mine, other = make_workspace("mine", status="online"), make_workspace("other", status="online")
    good = tokens.issue_workspace_token(mine.id).text
    revoked, expired = (tokens.issue_workspace_token(mine.id) for _ in range(2))
    WorkspaceToken.objects.filter(id=revoked.id).update(revoked_at=timezone.now())
    WorkspaceToken.objects.filter(id=expired.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    shown_once = enrolment.issue(mine.id).token
    return mine, {
        "good": presented_token(good),
        "forged": PresentedToken(presented_token(good).prefix, b"x" * 32),
        "another's": presented_token(tokens.issue_workspace_token(other.id).text),
        "revoked": presented_token(revoked.text),
        "expired": presented_token(expired.text),
        "enrolment": PresentedToken(shown_once.rpartition("_")[0], tokens._hash(shown_once)),
        "unknown": PresentedToken("mol_ws_000000000000", b"y" * 32),
    }


@pytest.mark.parametrize("name", ["forged", "another's", "revoked", "expired", "enrolment", "unknown"])
def test_an_invalid_token_changes_nothing(scene: tuple[Workspace, dict[str, PresentedToken]], name: str) -> None:
    mine, presented_tokens = scene
    before = Workspace.objects.filter(id=mine.id).values().get()
    assert heartbeats.commit([Beat(workspace_id=mine.id, active_tasks=9, token=presented_tokens[name])]) == ({}, set())
    assert reports.commit([Report(mine.id, presented_tokens[name], [Entry(activity_type="error")])]) == ({}, set())
    assert Workspace.objects.filter(id=mine.id).values().get() == before
    assert not ActivityLog.objects.exists()


def test_an_invalid_token_does_not_affect_the_others_of_a_batch(
    scene: tuple[Workspace, dict[str, PresentedToken]],
) -> None:
    mine, presented_tokens = scene
    for order in (["good", "forged"], ["forged", "good"], ["unknown", "good", "expired"]):
        beats = [
            Beat(workspace_id=mine.id, active_tasks=n, token=presented_tokens[name]) for n, name in enumerate(order)
        ]
        index = order.index("good")
        assert list(heartbeats.commit(beats).accepted) == [index]
        mine.refresh_from_db()
        assert mine.active_tasks == index
        given = [
            Report(mine.id, presented_tokens[name], [Entry(activity_type="agent_log", summary=name)]) for name in order
        ]
        assert list(reports.commit(given).accepted) == [index]
    assert set(ActivityLog.objects.values_list("summary", flat=True)) == {"good"}


def test_of_two_agents_of_one_workspace_the_last_heartbeat_is_kept(
    scene: tuple[Workspace, dict[str, PresentedToken]],
) -> None:
    mine, presented_tokens = scene
    second = presented_token(tokens.issue_workspace_token(mine.id).text)
    pairs = [(1, presented_tokens["good"]), (2, second), (3, presented_tokens["good"]), (4, second), (5, second)]
    beats = [Beat(workspace_id=mine.id, active_tasks=number, token=presented) for number, presented in pairs]
    assert set(heartbeats.commit(beats).accepted) == {0, 1, 2, 3, 4}
    mine.refresh_from_db()
    assert mine.active_tasks == 5


def test_a_heartbeat_marks_its_token_as_used(scene: tuple[Workspace, dict[str, PresentedToken]]) -> None:
    mine, presented_tokens = scene
    long_ago = timezone.now() - timedelta(days=1)
    token = WorkspaceToken.objects.filter(prefix=presented_tokens["good"].prefix)
    for last in (None, long_ago):
        token.update(last_used_at=last)
        heartbeats.commit([Beat(workspace_id=mine.id, token=presented_tokens["good"])])
        used = token.get().last_used_at
        assert used is not None
        assert used > long_ago + timedelta(hours=23)
    heartbeats.commit([Beat(workspace_id=mine.id, token=presented_tokens["good"])])
    assert token.get().last_used_at == used, "only every ten minutes, else every heartbeat would cost a second write"


def test_the_reason_of_each_refused_heartbeat(
    scene: tuple[Workspace, dict[str, PresentedToken]], make_workspace: Make
) -> None:
    mine, presented_tokens = scene
    errors = heartbeats.errors([Beat(workspace_id=mine.id, token=presented) for presented in presented_tokens.values()])
    by_name = dict(zip(presented_tokens, map(type, errors), strict=True))
    assert by_name.pop("another's") is NotAllowed
    del by_name["good"]
    assert set(by_name.values()) == {BadCredential}
    gone = make_workspace("gone")
    presented = presented_token(tokens.issue_workspace_token(gone.id).text)
    Workspace.objects.filter(id=gone.id).update(status="removed")
    assert isinstance(heartbeats.errors([Beat(workspace_id=gone.id, token=presented)])[0], Removed)
    assert isinstance(heartbeats.errors([Beat(workspace_id=uuid4())])[0], NotFound)


def test_only_the_agent_of_a_removed_workspace_is_told_that_it_is_removed(
    scene: tuple[Workspace, dict[str, PresentedToken]],
) -> None:
    """An agent stops for good when told Removed, so every other cause (such as clock skew) has another error."""
    mine, presented_tokens = scene
    errors = heartbeats.errors([Beat(workspace_id=mine.id, token=presented_tokens["good"]), Beat(workspace_id=mine.id)])
    assert [type(error) for error in errors] == [BadCredential, NotFound]


def test_many_invalid_heartbeats_cost_a_few_statements(
    scene: tuple[Workspace, dict[str, PresentedToken]], make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, presented_tokens = scene
    gone = [make_workspace(f"gone {n}") for n in range(3)]
    retired = [presented_token(tokens.issue_workspace_token(each.id).text) for each in gone]
    for each in gone:
        removal.remove(each.id, actor="test", confirm=True)
    unknown = [PresentedToken(f"mol_ws_{n:012x}", b"x" * 32) for n in range(500)]
    beats = [Beat(workspace_id=mine.id, active_tasks=n, token=presented) for n, presented in enumerate(unknown)]
    beats[250] = Beat(workspace_id=mine.id, active_tasks=250, token=presented_tokens["good"])
    execute = Mock(wraps=statements.execute)
    monkeypatch.setattr(statements, "execute", execute)
    assert list(heartbeats.commit(beats).accepted) == [250]
    assert execute.call_count == 2
    mine.refresh_from_db()
    assert mine.active_tasks == 250
    beats += [Beat(workspace_id=each.id, token=presented) for each, presented in zip(gone, retired, strict=True)]
    beats.append(Beat(workspace_id=mine.id, token=presented_tokens["another's"]))
    beats.append(Beat(workspace_id=uuid4()))
    with CaptureQueriesContext(connection) as queries:
        errors = heartbeats.errors(beats[:250] + beats[251:])
    assert len(queries) <= 5, [query["sql"][:100] for query in queries]
    assert [type(error) for error in errors] == [BadCredential] * 499 + [Removed] * 3 + [NotAllowed, NotFound]
    last = [error.last_event for error in errors if isinstance(error, Removed)]
    assert [(event["event"], event["workspace_id"]) for event in last if event] == [
        ("WORKSPACE_REMOVED", str(each.id)) for each in gone
    ]


def test_a_batch_of_reports_keeps_its_order(scene: tuple[Workspace, dict[str, PresentedToken]]) -> None:
    mine, presented_tokens = scene
    entries = [[Entry(activity_type="agent_log", summary=f"{n}.{m}") for m in range(3)] for n in range(4)]
    reports.commit([Report(mine.id, presented_tokens["good"], each) for each in entries])
    written = ActivityLog.objects.order_by("created_at").values_list("summary", flat=True)
    assert list(written) == [entry.summary for each in entries for entry in each]
