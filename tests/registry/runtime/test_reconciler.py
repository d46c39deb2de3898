"""The reconciler makes what runs what is wanted, and says what happened."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activity import clock
from activity.models import EventType, StructureEvent
from registry.config import files
from registry.config.contents import Content
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import RESERVED, Deployment, SecretAccess, Workspace, WorkspaceSecret, WorkspaceToken
from registry.organisation import agents, pausing, rebuild, removal, workspaces
from registry.runtime import claims, reconciler, reports
from registry.runtime.backend import NotRunnable, Refused, Unavailable
from registry.secrets import store
from tests.conftest import ACTOR, bearer
from tests.registry.runtime.conftest import due, row
from tests.registry.runtime.fake import FakeBackend

pytestmark = pytest.mark.django_db
Deploy = Callable[..., UUID]
Rounds = Callable[..., int]
CANARY = "canary-52b6c1d7"


def events(workspace_id: UUID, event_type: EventType) -> list[dict[str, Any]]:
    found = StructureEvent.objects.filter(workspace_id=workspace_id, event_type=event_type).order_by("seq")
    return [event.payload or {} for event in found]


def beat(fake: FakeBackend, workspace_id: UUID) -> None:
    """The agent beats with the token that it was given."""
    body = {"workspace_id": str(workspace_id)}
    answer = bearer(fake.specs[workspace_id].token).post("/registry/heartbeat", body)
    assert answer.status_code == 200, answer.content


def status(workspace_id: UUID) -> str:
    return Workspace.objects.get(id=workspace_id).status


def live_tokens(workspace_id: UUID) -> list[str]:
    found = WorkspaceToken.objects.filter(workspace_id=workspace_id, revoked_at=None).order_by("created_at")
    return [token.prefix for token in found]


# --- From what is wanted to what runs -------------------------------------------------------------------


def test_what_is_created_is_started_once(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    assert rounds() == 1
    assert rounds() == 0
    found = row(one)
    assert (found.state, found.generation, found.observed_generation) == ("starting", 1, 1)
    assert (found.resource_id, found.url) == (fake.running[one].resource_id, fake.running[one].url)
    assert fake.started[one] == 1
    created, started = events(one, EventType.WORKSPACE_PROVISIONING)
    assert "from" not in created
    assert (started["from"], started["backend"], started["generation"]) == ("provisioning", "fake", 1)


def test_it_runs_once_its_agent_has_shown_itself(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    rounds()
    assert (row(one).state, status(one)) == ("running", "online")


def test_restart_is_a_new_generation_with_a_new_token(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    rounds()
    first = fake.specs[one].token
    pausing.restart(one, actor=ACTOR)
    rounds()
    assert (row(one).state, row(one).observed_generation) == ("starting", 2)
    assert [method for method, _ in fake.calls] == ["start", "stop", "start"]
    second = fake.specs[one].token
    assert [token.startswith(prefix) for token, prefix in zip((first, second), live_tokens(one), strict=True)] == [
        True,
        True,
    ]
    beat(fake, one)
    rounds()
    assert [second.startswith(prefix) for prefix in live_tokens(one)] == [True]
    assert bearer(first).post("/registry/heartbeat", {"workspace_id": str(one)}).status_code == 401


def test_tokens_that_were_never_used_do_not_pile_up(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    for _ in range(3):
        rounds()
        fake.die(one)
        rounds()
        due(one)
    rounds()
    assert len(live_tokens(one)) == 1


def test_pause_stops_and_resume_starts(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    pausing.pause(one, actor=ACTOR)
    rounds()
    assert (fake.running, row(one).state, row(one).resource_id, row(one).url) == ({}, "stopped", None, None)
    assert rounds() == 0
    pausing.resume(one, actor=ACTOR)
    rounds()
    assert (row(one).state, fake.started[one]) == ("starting", 2)


def test_what_is_removed_is_absent_once_the_backend_says_so(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    removal.remove(one, actor=ACTOR, confirm=True)
    fake.errors["remove"] = Unavailable("engine", "the engine does not answer")
    rounds()
    found = row(one)
    assert (found.state, found.reason, found.attempts) == ("stopping", "engine", 1)
    assert fake.running
    fake.errors.clear()
    due(one)
    rounds()
    assert (row(one).state, fake.running) == ("absent", {})
    assert status(one) == "removed"


def test_a_removed_workspace_is_not_run_whatever_its_row_says(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    rounds()
    Workspace.objects.filter(id=one).update(status="removed")
    rounds()
    assert (row(one).state, fake.running) == ("absent", {})


def test_a_paused_workspace_is_not_started_whatever_its_row_says(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    Workspace.objects.filter(id=one).update(status="paused")
    rounds()
    assert (row(one).state, status(one), fake.running) == ("stopped", "paused", {})


def test_the_log_still_gives_the_tables(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    fake.die(one)
    rounds()
    due(one)
    rounds()
    assert rebuild._compare(lambda done: None) == []


# --- What it is given -----------------------------------------------------------------------------------


def test_the_environment(fake: FakeBackend, deploy: Deploy, rounds: Rounds, settings: Any) -> None:
    lead = deploy("Lead")
    settings.HOST, settings.PORT, settings.FORCE_SCRIPT_NAME = "127.0.0.1", 8123, ""
    store.set_for_all("SHARED", "of all", actor=ACTOR)
    store.set_for_all("API_KEY", "of all", actor=ACTOR)
    store.set_for_workspace(lead, "API_KEY", CANARY, actor=ACTOR)
    for name in ("WORKSPACE_ID", "AGENT_URL"):  # as only older ones are
        store.set_for_workspace(lead, name, "another", actor=ACTOR)
    agents.assign(lead, "openai:gpt", actor=ACTOR)
    rounds()
    assert fake.specs[lead].environment == {
        "WORKSPACE_ID": str(lead),
        "WORKSPACE_NAME": "Lead",
        "PLATFORM_URL": "http://127.0.0.1:8123",
        "MOLECULE_URL": "http://127.0.0.1:8123",
        "WORKSPACE_CONFIG_PATH": "/configs",
        "CONFIGS_DIR": "/configs",
        "PLUGINS_DIR": "/plugins",
        "TIER": "2",
        "WORKSPACE_TIER": "2",
        "PARENT_ID": "",
        "MODEL_PROVIDER": "openai:gpt",
        "SHARED": "of all",
        "API_KEY": CANARY,
    }
    given = fake.specs[lead].environment.keys() | {"AGENT_HOST", "AGENT_PORT", "AGENT_URL"}
    assert given - {"MODEL_PROVIDER", "SHARED", "API_KEY"} == RESERVED
    read = SecretAccess.objects.filter(action="read").get()
    assert (read.actor, read.workspace_id) == ("supervisor", lead)
    assert read.keys == ["AGENT_URL", "API_KEY", "SHARED", "WORKSPACE_ID"]


def test_a_secret_that_does_not_open_fails_it_and_names_the_key(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    store.set_for_workspace(one, "GOOD", "value", actor=ACTOR)
    store.set_for_workspace(one, "BROKEN", "value", actor=ACTOR)
    WorkspaceSecret.objects.filter(key="BROKEN").update(encrypted_value=b"nonsense")
    rounds()
    found = row(one)
    assert (found.state, found.reason, found.next_attempt_at) == ("failed", "secrets_broken", None)
    assert "BROKEN" in (found.message or "")
    [failure] = events(one, EventType.WORKSPACE_PROVISION_FAILED)
    assert failure["reason"] == "secrets_broken"
    assert (status(one), fake.started[one], rounds()) == ("failed", 0, 0)
    store.set_for_workspace(one, "BROKEN", "mended", actor=ACTOR)
    rounds()
    assert (row(one).state, fake.specs[one].environment["BROKEN"]) == ("starting", "mended")


def test_what_config_yaml_requires_must_be_there(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    config = Content(b"env: {required: [ONE_KEY, OTHER_KEY]}")
    one = deploy(files={"agent.py": Content(b""), "config.yaml": config})
    store.set_for_all("OTHER_KEY", "value", actor=ACTOR)
    rounds()
    assert (row(one).reason, row(one).state) == ("missing_environment", "failed")
    assert "ONE_KEY" in (row(one).message or "")
    assert "OTHER_KEY" not in (row(one).message or "")


def test_what_no_backend_can_run_awaits_an_agent_from_elsewhere(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    fake.errors["check"] = NotRunnable("no_entrypoint", "nothing says how")
    rounds()
    found = row(one)
    assert (found.state, found.reason, found.message) == ("absent", "no_entrypoint", "nothing says how")
    assert (status(one), events(one, EventType.WORKSPACE_PROVISION_FAILED), rounds()) == ("provisioning", [], 0)
    fake.errors.clear()
    files.write(one, "agent.py", b"now", actor=ACTOR)
    rounds()
    assert row(one).state == "starting"


def test_a_refused_tier_fails_it_without_another_try(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    fake.errors["check"] = Refused("tier_not_allowed", "not here")
    rounds()
    assert (row(one).state, row(one).reason, row(one).next_attempt_at) == ("failed", "tier_not_allowed", None)
    assert (status(one), rounds()) == ("failed", 0)


# --- Failures -------------------------------------------------------------------------------------------


def test_one_that_ends_is_started_again_after_a_while(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    rounds()
    fake.die(one, "was killed by SIGKILL")
    rounds()
    found = row(one)
    assert (found.state, found.reason, found.message) == ("failed", "ended", "was killed by SIGKILL")
    assert found.next_attempt_at is not None
    wait = (found.next_attempt_at - clock.now()).total_seconds()
    assert 0 < wait <= reports.FIRST_SECONDS * (1 + reports.JITTER)
    assert (status(one), events(one, EventType.WORKSPACE_PROVISION_FAILED)) == ("online", [])
    assert (rounds(), fake.started[one]) == (0, 1)
    due(one)
    rounds()
    assert (row(one).state, fake.started[one], status(one)) == ("starting", 2, "provisioning")
    last = events(one, EventType.WORKSPACE_PROVISIONING)[-1]
    assert (last["from"], last["attempt"], last["reason"]) == ("online", 2, "ended")
    assert last["message"] == "was killed by SIGKILL"


def test_one_that_is_awaited_and_ends_has_failed_with_its_log(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    store.set_for_workspace(one, "API_KEY", CANARY, actor=ACTOR)
    rounds()
    fake.log = f"starting\x00\nkey {CANARY}\n" + "\n".join(f"line {n}" for n in range(60))
    fake.die(one)
    rounds()
    [failure] = events(one, EventType.WORKSPACE_PROVISION_FAILED)
    assert (failure["from"], failure["reason"], failure["message"]) == ("provisioning", "ended", "exited with status 3")
    assert failure["log_tail"].split("\n") == [f"line {n}" for n in range(10, 60)]
    assert status(one) == "failed"


def test_secrets_in_its_log_are_masked(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    store.set_for_workspace(one, "API_KEY", CANARY, actor=ACTOR)
    rounds()
    fake.log = f"key {CANARY}, token {fake.specs[one].token}"
    fake.die(one, f"could not use {CANARY}")
    rounds()
    [failure] = events(one, EventType.WORKSPACE_PROVISION_FAILED)
    assert failure["log_tail"] == "key [secret API_KEY], token [token]"
    assert failure["message"] == row(one).message == "could not use [secret API_KEY]"


def test_the_fifth_failure_is_a_crash_loop_until_a_restart(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    for _ in range(reports.MOST_ATTEMPTS):
        due(one)
        rounds()
        fake.die(one)
        rounds()
    found = row(one)
    assert (found.state, found.reason, found.attempts, found.next_attempt_at) == ("failed", "crash_loop", 5, None)
    assert found.message == "failed 5 times in a row, at last: exited with status 3"
    assert (fake.started[one], rounds(), status(one)) == (5, 0, "failed")
    pausing.restart(one, actor=ACTOR)
    rounds()
    assert (row(one).state, row(one).attempts, fake.started[one]) == ("starting", 0, 6)


def test_one_that_is_online_and_is_given_up_is_failed(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    rounds()
    Deployment.objects.update(attempts=reports.MOST_ATTEMPTS - 1)
    fake.die(one)
    rounds()
    [failure] = events(one, EventType.WORKSPACE_PROVISION_FAILED)
    assert (failure["from"], failure["reason"], status(one)) == ("online", "crash_loop", "failed")


def test_failures_long_ago_do_not_count(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    beat(fake, one)
    rounds()
    long_ago = clock.now() - timedelta(seconds=reports.STABLE_SECONDS + 1)
    Deployment.objects.update(attempts=reports.MOST_ATTEMPTS - 1, since=long_ago)
    fake.die(one)
    rounds()
    assert (row(one).attempts, row(one).reason) == (1, "ended")


def test_no_sign_of_life_is_a_failure(fake: FakeBackend, deploy: Deploy, rounds: Rounds, settings: Any) -> None:
    one = deploy()
    rounds()
    Deployment.objects.update(started_at=clock.now() - timedelta(seconds=settings.PROVISIONING_SECONDS + 1))
    rounds()
    assert (row(one).state, row(one).reason) == ("failed", "no_sign_of_life")
    assert fake.running == {}


def test_the_backend_may_be_away_for_a_while(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    """Nobody is declared dead, and nothing is restarted."""
    one, other = deploy(), deploy()
    rounds()
    for each in (one, other):
        beat(fake, each)
    rounds()
    fake.is_unknown = True
    pausing.restart(other, actor=ACTOR)
    for _ in range(3):
        rounds()
        due(other)
    assert [(row(one).state, status(one)), row(other).state] == [("running", "online"), "unknown"]
    assert sorted(fake.running) == sorted([one, other])
    fake.is_unknown = False
    due(other)
    rounds()
    assert (row(one).state, row(other).state, row(other).observed_generation) == ("running", "starting", 2)
    assert (fake.started[one], fake.started[other]) == (1, 2)


def test_a_start_that_fails_is_tried_again(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    fake.errors["start"] = Unavailable("port_taken", "port 8080 is taken")
    rounds()
    assert (row(one).state, row(one).reason, row(one).attempts) == ("failed", "port_taken", 1)
    fake.errors.clear()
    due(one)
    rounds()
    assert row(one).state == "starting"


def test_what_cannot_be_prepared_is_tried_again_and_given_no_token(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    fake.errors["prepare"] = Unavailable("pull_failed", "the image cannot be pulled")
    rounds()
    assert (row(one).state, row(one).reason, row(one).attempts) == ("failed", "pull_failed", 1)
    assert (live_tokens(one), fake.calls) == ([], [("stop", one)])
    assert len(events(one, EventType.WORKSPACE_PROVISIONING)) == 1
    fake.errors.clear()
    due(one)
    rounds()
    assert row(one).state == "starting"


def test_backoff_grows_to_five_minutes() -> None:
    waits = [reports.backoff(n).total_seconds() for n in (1, 2, 3, 7, 100)]
    for wait, least in zip(waits, (5, 10, 20, 300, 300), strict=True):
        assert least <= wait <= least * (1 + reports.JITTER)


# --- What changes meanwhile -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["stop", "prepare", "start"])
def test_a_pause_during_a_start_wins(fake: FakeBackend, deploy: Deploy, rounds: Rounds, method: str) -> None:
    one = deploy()
    if method == "stop":
        rounds()
        pausing.restart(one, actor=ACTOR)
    paused: list[int] = []

    def pause_once(called: str) -> None:
        if called == method and not paused:
            paused.append(pausing.pause(one, actor=ACTOR))

    fake.before = pause_once
    rounds()
    assert (paused, status(one), row(one).state, fake.running) == ([1], "paused", "stopped", {})


def test_a_removal_during_a_start_wins(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    removed: list[Any] = []

    def remove_once(called: str) -> None:
        if called == "start" and not removed:
            removed.append(removal.remove(one, actor=ACTOR, confirm=True))

    fake.before = remove_once
    rounds()
    assert (status(one), row(one).state, fake.running) == ("removed", "absent", {})


def test_a_restart_during_a_failure_is_not_delayed(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    fake.errors["start"] = Unavailable("port_taken", "port 8080 is taken")
    restarted: list[UUID] = []

    def restart_once(called: str) -> None:
        if called == "start" and not restarted:
            restarted.append(one)
            pausing.restart(one, actor=ACTOR)

    fake.before = restart_once
    [claim] = claims.claim(1)
    reconciler.reconcile(claim, fake)
    fake.errors.clear()
    rounds()
    assert (row(one).state, row(one).observed_generation, row(one).attempts) == ("starting", 2, 0)


def test_what_is_written_under_a_claim_that_has_ended_is_refused(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    [mine] = claims.claim(1)
    assert claims.claim(1) == []
    Deployment.objects.update(claimed_until="2000-01-01T00:00:00Z")
    [other] = claims.claim(1)
    reconciler.reconcile(mine, fake)
    assert (fake.running, row(one).claimed_by) == ({}, other.id)
    reconciler.reconcile(other, fake)
    assert (row(one).state, row(one).claimed_by) == ("starting", None)


def test_an_agent_whose_claim_is_lost_before_it_begins_never_begins(fake: FakeBackend, deploy: Deploy) -> None:
    one = deploy()
    [mine] = claims.claim(1)
    fake.before = lambda method: method == "start" and Deployment.objects.update(claimed_by=uuid4())
    reconciler.reconcile(mine, fake)
    assert (fake.calls, fake.running, row(one).resource_id) == ([("start", one)], {}, None)


def test_a_claim_is_renewed(fake: FakeBackend, deploy: Deploy) -> None:
    deploy()
    [mine] = claims.claim(1)
    Deployment.objects.update(claimed_until="2000-01-01T00:00:00Z")
    claims.renew([mine.id])
    assert claims.claim(1) == []


def test_an_agent_that_beats_while_it_is_stopped_changes_nothing(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds
) -> None:
    one = deploy()
    rounds()
    pausing.pause(one, actor=ACTOR)
    heartbeats.flush([Beat(workspace_id=one)])
    rounds()
    assert (status(one), row(one).state) == ("paused", "stopped")


def test_what_becomes_external_is_removed_from_the_backend(fake: FakeBackend, deploy: Deploy, rounds: Rounds) -> None:
    one = deploy()
    rounds()
    workspaces.update(one, {"runtime": "external"}, actor=ACTOR)
    rounds()
    assert (row(one).state, fake.running, status(one)) == ("absent", {}, "provisioning")
