"""Texts of heartbeats are masked before they are written, in one look-up for a whole batch."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from activity.models import StructureEvent
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Workspace
from registry.secrets import store

Make = Callable[..., Workspace]


def test_secrets_in_texts_are_masked_before_anything_is_written(
    make_workspace: Make,
    broadcasts: Callable[[], list[dict[str, Any]]],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    secret = "canary-" + "5f1d9c7a" * 8
    workspace = make_workspace(status="online")
    store.set_for_workspace(workspace.id, "KEY", secret, actor="test")
    with django_capture_on_commit_callbacks(execute=True):
        heartbeats.flush(
            [Beat(workspace_id=workspace.id, error_rate=0.9, sample_error=f"<{secret}>", current_task=secret)]
        )
    workspace.refresh_from_db()
    assert (workspace.last_sample_error, workspace.current_task) == ("<[secret KEY]>", "[secret KEY]")
    degraded = StructureEvent.objects.get(event_type="WORKSPACE_DEGRADED")
    assert degraded.payload == {"from": "online", "error_rate": 0.9, "sample_error": "<[secret KEY]>"}
    assert "canary" not in str(broadcasts())


@pytest.mark.parametrize("left", [6, 20, 70])
def test_a_secret_that_the_longest_text_cuts_off_is_masked(make_workspace: Make, left: int) -> None:
    secret = "canary-" + "5f1d9c7a" * 8
    workspace = make_workspace(status="online")
    store.set_for_workspace(workspace.id, "KEY", secret, actor="test")
    text = "x" * (heartbeats.LONGEST_TEXT - left) + secret + "tail"
    heartbeats.flush([Beat(workspace_id=workspace.id, sample_error=text, current_task=text)])
    workspace.refresh_from_db()
    assert "canary" not in f"{workspace.last_sample_error}{workspace.current_task}"
    assert len(workspace.current_task or "") <= heartbeats.LONGEST_TEXT
    assert (workspace.current_task or "").strip("x").startswith("[secr")


def test_a_text_of_any_length_does_not_tell_how_a_secret_begins(make_workspace: Make) -> None:
    """Or an agent that may not read it would find it character by character, in what is shown of its own task."""
    workspace = make_workspace(status="online")
    store.set_for_all("KEY", "sk-known-5f1d9c7a", actor="test")
    for size in (heartbeats.LONGEST_TEXT, heartbeats.LONGEST_TEXT + 1):
        for tried in ("sk-known-", "sk-known-4", "sk-known-5"):
            text = "x" * (size - len(tried)) + tried
            heartbeats.flush([Beat(workspace_id=workspace.id, current_task=text)])
            workspace.refresh_from_db()
            assert workspace.current_task == text[: heartbeats.LONGEST_TEXT], tried


def test_heartbeats_without_texts_look_up_no_secrets(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    versions = store.versions

    def noted(workspace_ids: Collection[UUID]) -> dict[UUID | None, int]:
        asked.append(set(workspace_ids))
        return versions(workspace_ids)

    monkeypatch.setattr(store, "versions", noted)
    silent, talking = make_workspace(), [make_workspace() for _ in range(3)]
    heartbeats.flush([Beat(workspace_id=silent.id)])
    assert asked == []
    heartbeats.flush(
        [Beat(workspace_id=each.id, current_task="busy") for each in talking] + [Beat(workspace_id=silent.id)]
    )
    assert asked == [{each.id for each in talking}], "one query for the whole batch"
