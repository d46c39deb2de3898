"""What operations want of deployments: written in their transactions, and only where a backend is set."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from registry.config import blueprints, files
from registry.config.blueprints import Blueprint
from registry.config.contents import Content
from registry.models import Deployment, Workspace
from registry.organisation import pausing, rebuild, removal, teams, workspaces
from registry.secrets import store
from registry.structure import deployments
from tests.conftest import ACTOR

pytestmark = pytest.mark.django_db
Make = Callable[..., Workspace]
FILES = {"agent.py": Content(b"")}


@pytest.fixture
def backend(settings: Any) -> None:
    settings.RUNTIME_BACKEND = "process"


def create(name: str = "Agent", *children: Blueprint, **fields: Any) -> UUID:
    wanted = Blueprint(name=name, children=children, **{"files": FILES} | fields)
    [created] = blueprints.create([wanted], parent_id=None, actor=ACTOR)
    return created.workspace_id


def wanted(workspace_id: UUID) -> tuple[str, int] | None:
    found = Deployment.objects.filter(workspace_id=workspace_id).first()
    return None if found is None else (found.desired, found.generation)


def test_nothing_is_written_where_no_backend_is_set() -> None:
    one = create("Lead", Blueprint(name="Member", files=FILES))
    pausing.pause(one, actor=ACTOR)
    pausing.resume(one, actor=ACTOR)
    files.write(one, "new", b"", actor=ACTOR)
    store.set_for_all("KEY", "value", actor=ACTOR)
    removal.remove(one, actor=ACTOR, confirm=True)
    assert not Deployment.objects.exists()


@pytest.mark.usefixtures("backend")
class TestWithABackend:
    def test_a_workspace_with_files_is_deployed_with_its_team(self) -> None:
        create("Lead", Blueprint(name="Member", files=FILES), Blueprint(name="No files"))
        found = Deployment.objects.order_by("workspace__name").values_list("workspace__name", "desired", "backend")
        assert list(found) == [("Lead", "running", "process"), ("Member", "running", "process")]

    def test_external_ones_are_not(self) -> None:
        assert wanted(create(external=True)) is None

    def test_files_that_come_later_deploy_it(self, make_workspace: Make) -> None:
        one = make_workspace().id
        files.write(one, "agent.py", b"", actor=ACTOR)
        assert wanted(one) == ("running", 1)

    def test_a_workspace_with_an_agent_is_left_to_it(self, make_workspace: Make) -> None:
        one = make_workspace().id
        Workspace.objects.filter(id=one).update(url="http://elsewhere:1", status="online")
        files.write(one, "agent.py", b"", actor=ACTOR)
        assert wanted(one) is None

    def test_files_of_a_paused_workspace_do_not_start_it(self, make_workspace: Make) -> None:
        one = make_workspace(status="paused").id
        files.write(one, "agent.py", b"", actor=ACTOR)
        assert wanted(one) == ("stopped", 1)

    def test_pause_stops_and_resume_runs_the_team(self) -> None:
        one = create("Lead", Blueprint(name="Member", files=FILES))
        pausing.pause(one, actor=ACTOR)
        assert set(Deployment.objects.values_list("desired", flat=True)) == {"stopped"}
        pausing.resume(one, actor=ACTOR)
        assert set(Deployment.objects.values_list("desired", "generation")) == {("running", 1)}

    def test_restart_is_another_generation_and_resets_the_failures(self) -> None:
        one = create()
        Deployment.objects.update(attempts=5, next_attempt_at="2100-01-01T00:00:00Z")
        pausing.restart(one, actor=ACTOR)
        found = Deployment.objects.get()
        assert (found.desired, found.generation, found.attempts, found.next_attempt_at) == ("running", 2, 0, None)

    def test_only_what_is_run_here_can_be_restarted(self, make_workspace: Make) -> None:
        assert not pausing.can_restart(make_workspace())
        assert pausing.can_restart(Workspace.objects.get(id=create()))

    def test_a_page_asks_once_which_of_its_rows_are_run_here(
        self, make_workspace: Make, django_assert_num_queries: Any
    ) -> None:
        make_workspace("Elsewhere")
        create("Lead", Blueprint(name="Member", files=FILES))
        rows = list(Workspace.objects.order_by("name"))
        with django_assert_num_queries(1):
            deployments.look_up(rows)
            assert {row.name: pausing.can_restart(row) for row in rows} == {
                "Elsewhere": False,
                "Lead": True,
                "Member": True,
            }

    def test_removal_makes_it_absent_for_good(self) -> None:
        lead = create("Lead", Blueprint(name="Member", files=FILES))
        teams.remove_team(lead, actor=ACTOR)
        removal.remove(lead, actor=ACTOR, confirm=True)
        assert set(Deployment.objects.values_list("desired", flat=True)) == {"absent"}

    def test_what_becomes_external_is_not_run_any_more(self) -> None:
        one = create()
        workspaces.update(one, {"runtime": "external"}, actor=ACTOR)
        assert wanted(one) == ("absent", 1)

    @pytest.mark.parametrize(("is_on", "generation"), [(False, 1), (True, 2)])
    @pytest.mark.parametrize(
        "change",
        [
            lambda one: workspaces.update(one, {"tier": 2}, actor=ACTOR),
            lambda one: workspaces.update(one, {"runtime": "other"}, actor=ACTOR),
            lambda one: files.write(one, "new", b"", actor=ACTOR),
            lambda one: store.set_for_workspace(one, "KEY", "value", actor=ACTOR),
            lambda one: store.set_for_all("KEY", "value", actor=ACTOR),
        ],
        ids=["tier", "runtime", "files", "secret", "global secret"],
    )
    def test_a_change_restarts_it_where_that_is_set(
        self, settings: Any, change: Callable[[UUID], object], is_on: bool, generation: int
    ) -> None:
        one = create()
        settings.RUNTIME_RESTART_ON_CHANGE = is_on
        change(one)
        assert wanted(one) == ("running", generation)

    def test_a_change_of_the_name_does_not(self, settings: Any) -> None:
        settings.RUNTIME_RESTART_ON_CHANGE = True
        one = create()
        workspaces.update(one, {"name": "Other"}, actor=ACTOR)
        assert wanted(one) == ("running", 1)

    def test_one_that_could_not_be_run_is_looked_at_again_when_its_files_change(self) -> None:
        one = create(files={"config.yaml": Content(b"name: Agent")})
        Deployment.objects.update(state="absent", reason="no_entrypoint", observed_generation=1)
        files.write(one, "agent.py", b"", actor=ACTOR)
        assert list(Deployment.objects.values_list("state", "reason")) == [("pending", None)]

    def test_what_is_rolled_back_wants_nothing(self) -> None:
        with transaction.atomic():
            create()
            transaction.set_rollback(True)
        assert not Deployment.objects.exists()

    def test_the_database_refuses_other_words_and_generations(self) -> None:
        create()
        for change in ({"desired": "gone"}, {"state": "lost"}, {"observed_generation": 2}, {"attempts": -1}):
            with pytest.raises(IntegrityError), transaction.atomic():
                Deployment.objects.update(**change)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("backend")
def test_deployments_are_not_in_the_log(make_workspace: Make) -> None:
    one = create("Lead", Blueprint(name="Member", files=FILES))
    pausing.restart(one, actor=ACTOR)
    Deployment.objects.update(state="failed", reason="crash_loop")
    assert rebuild.check() == []
