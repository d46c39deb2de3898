"""What operators see of deployments, by REST and live; agents see nothing of them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from registry.config import files
from registry.config.blueprints import Blueprint
from registry.models import Deployment, Workspace
from registry.organisation import pausing, removal, workspaces
from registry.organisation.audience import Teams
from registry.runtime import claims, reconciler
from registry.runtime.backend import Refused, Unavailable
from registry.secrets import store
from tests.conftest import ACTOR, bearer
from tests.registry.identity.test_refusals import frame
from tests.registry.runtime.conftest import FILES, due
from tests.registry.runtime.fake import FakeBackend
from tests.registry.runtime.test_reconciler import beat

pytestmark = pytest.mark.django_db
Deploy = Callable[..., UUID]
Rounds = Callable[..., int]
Told = Callable[[Callable[[], object]], list[Any]]
FIELDS = (
    "backend", "desired", "state", "since", "reason", "message", "generation", "attempts", "next_attempt_at",
    "started_at", "image", "needs_restart",
)  # fmt: skip


@pytest.fixture
def told(django_capture_on_commit_callbacks: Any, broadcasts: Any) -> Told:
    """What operators are told of deployments by what is done."""

    def told(work: Callable[[], object]) -> list[Any]:
        broadcasts()
        with django_capture_on_commit_callbacks(execute=True):
            work()
        found = [one for one in broadcasts() if one["event"] == "DEPLOYMENT_UPDATED"]
        assert {one["seq"] for one in found} <= {None}
        return [one["payload"]["deployment"] for one in found]

    return told


def shown(client: APIClient, workspace_id: UUID) -> Any:
    return client.get(f"/workspaces/{workspace_id}").json()["deployment"]


def test_operators_see_it_and_agents_do_not(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds, make_workspace: Any, as_viewer: APIClient
) -> None:
    lead = deploy("Lead", Blueprint(name="Member", files=FILES, tier=2))
    elsewhere = make_workspace("Elsewhere")
    rounds()
    found = shown(as_viewer, lead)
    assert tuple(found) == FIELDS
    assert (found["backend"], found["desired"], found["state"]) == ("fake", "running", "starting")
    assert (found["generation"], found["attempts"], found["needs_restart"]) == (1, 0, False)
    assert found["since"] <= found["started_at"]
    assert found["image"] is found["reason"] is found["next_attempt_at"] is None
    listed = {row["id"]: row["deployment"] for row in as_viewer.get("/workspaces").json()}
    assert (listed[str(lead)], listed[str(elsewhere.id)]) == (found, None)
    snapshot = as_viewer.get("/canvas/snapshot").json()
    assert {row["id"]: row["deployment"] for row in snapshot["workspaces"]} == listed
    past = as_viewer.get("/canvas/snapshot", {"at": snapshot["seq"]}).json()["workspaces"]
    assert {row["deployment"] for row in past} == {None}
    for own in (lead, Workspace.objects.get(name="Member").id):
        answer = bearer(fake.specs[own].token).get(f"/workspaces/{lead}")
        assert answer.status_code == 200
        assert "deployment" not in answer.json()


def test_lists_cost_the_same_with_deployments(
    deploy: Deploy, fake: FakeBackend, as_viewer: APIClient, django_assert_num_queries: Any
) -> None:
    deploy("One")
    as_viewer.get("/workspaces")
    with django_assert_num_queries(3) as first:
        as_viewer.get("/workspaces")
    deploy("Two", Blueprint(name="Three", files=FILES, tier=2))
    with django_assert_num_queries(len(first)):
        as_viewer.get("/workspaces")


def test_what_is_run_nowhere_has_none(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient, told: Told
) -> None:
    one = deploy()
    rounds()
    workspaces.update(one, {"runtime": "external"}, actor=ACTOR)
    assert shown(as_viewer, one)["desired"] == "absent"
    assert told(rounds)[-1] is None
    assert shown(as_viewer, one) is None


def test_a_version_changes_only_with_what_is_shown(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient
) -> None:
    one = deploy()
    rounds()

    def etags() -> tuple[str, str]:
        return as_viewer.get("/workspaces")["ETag"], as_viewer.get("/canvas/snapshot")["ETag"]

    before = etags()
    [claim] = claims.claim(1, also=[one])
    claims.renew([claim.id])
    claims.save(claim, next_attempt_at=None, state=claim.state)
    assert etags() == before
    assert as_viewer.get("/workspaces", HTTP_IF_NONE_MATCH=before[0]).status_code == 304
    Deployment.objects.update(state="unknown", next_attempt_at=Now())
    unknown = etags()
    assert not set(unknown) & set(before)
    Deployment.objects.update(next_attempt_at=None)
    assert etags() == unknown
    for column, value in {"message": "?", "changes": 1, "image": "i", "desired": "stopped", "attempts": 2}.items():
        last = etags()
        Deployment.objects.update(**{column: value})
        assert not set(etags()) & set(last), column


def test_each_step_is_told_once(fake: FakeBackend, deploy: Deploy, rounds: Rounds, told: Told) -> None:
    made: list[UUID] = []
    assert [one["state"] for one in told(lambda: made.append(deploy()))] == ["pending"]
    one = made[0]
    assert [step["state"] for step in told(rounds)] == ["starting"]
    beat(fake, one)
    assert [step["state"] for step in told(rounds)] == ["running"]
    assert told(rounds) == []
    fake.die(one)
    failed, *again = told(rounds)
    assert (failed["state"], failed["reason"], failed["attempts"], again) == ("failed", "ended", 1, [])
    assert failed["next_attempt_at"] > failed["since"]
    due(one)
    assert [step["state"] for step in told(rounds)] == ["starting"]
    [restarted] = told(lambda: pausing.restart(one, actor=ACTOR))
    assert restarted["generation"] == 2
    assert [step["state"] for step in told(rounds)] == ["stopping", "starting"]
    assert [step["desired"] for step in told(lambda: pausing.pause(one, actor=ACTOR))] == ["stopped"]
    assert [step["state"] for step in told(rounds)] == ["stopping", "stopped"]
    assert [step["desired"] for step in told(lambda: removal.remove(one, actor=ACTOR, confirm=False))] == ["absent"]
    assert [step and step["state"] for step in told(rounds)] == ["stopping", None]


def test_the_message_is_for_canvases_only(deploy: Deploy, fake: FakeBackend) -> None:
    one = deploy()
    teams = Teams()
    teams.load()
    assert teams.groups_for(frame("WORKSPACE_UPDATED", one)) != ()
    assert teams.groups_for(frame("DEPLOYMENT_UPDATED", one)) == ()


def test_what_is_not_known_is_told_once(fake: FakeBackend, deploy: Deploy, rounds: Rounds, told: Told) -> None:
    one = deploy()
    rounds()
    fake.is_unknown = True

    def look() -> None:
        [claim] = claims.claim(1, also=[one])
        reconciler.reconcile(claim, fake)

    assert [step["state"] for step in told(look)] == ["unknown"]
    assert told(look) == []


# --- Needs a restart --------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[UUID], object]] = {
    "tier": lambda one: workspaces.update(one, {"tier": 1}, actor=ACTOR),
    "runtime": lambda one: workspaces.update(one, {"runtime": "other"}, actor=ACTOR),
    "files": lambda one: files.write(one, "new", b"", actor=ACTOR),
    "secret": lambda one: store.set_for_workspace(one, "KEY", "value", actor=ACTOR),
    "global secret": lambda one: store.set_for_all("KEY", "value", actor=ACTOR),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_needs_a_restart(
    fake: FakeBackend,
    deploy: Deploy,
    rounds: Rounds,
    as_viewer: APIClient,
    told: Told,
    change: Callable[[UUID], object],
) -> None:
    one = deploy()
    assert told(lambda: files.write(one, "first", b"", actor=ACTOR)) == []
    rounds()
    assert not shown(as_viewer, one)["needs_restart"]
    assert [step["needs_restart"] for step in told(lambda: change(one))] == [True]
    pausing.restart(one, actor=ACTOR)
    assert not shown(as_viewer, one)["needs_restart"]
    rounds()
    assert not shown(as_viewer, one)["needs_restart"]


def test_a_name_needs_none(fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient) -> None:
    one = deploy()
    rounds()
    workspaces.update(one, {"name": "Other"}, actor=ACTOR)
    assert not shown(as_viewer, one)["needs_restart"]


def test_a_change_while_it_starts_needs_one(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient
) -> None:
    one = deploy()
    fake.before = lambda method: files.write(one, "late", b"", actor=ACTOR)
    rounds()
    assert shown(as_viewer, one)["needs_restart"]


def test_what_ended_starts_with_what_is_there(
    fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient
) -> None:
    one = deploy()
    rounds()
    fake.die(one)
    fake.errors["start"] = Unavailable("busy", "not now")
    rounds()
    files.write(one, "new", b"", actor=ACTOR)
    assert not shown(as_viewer, one)["needs_restart"]
    fake.errors.clear()
    due(one)
    rounds()
    assert not shown(as_viewer, one)["needs_restart"]


def test_what_cannot_run_says_why(fake: FakeBackend, deploy: Deploy, rounds: Rounds, as_viewer: APIClient) -> None:
    fake.errors["check"] = Refused("tier_not_offered", "no tier 2 here")
    one = deploy()
    rounds()
    found = shown(as_viewer, one)
    assert (found["state"], found["reason"], found["message"]) == ("failed", "tier_not_offered", "no tier 2 here")
