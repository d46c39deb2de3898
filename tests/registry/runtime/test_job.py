"""The supervisor's job: several at once, each once, also from several supervisors; lost rows and orphans."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from registry.management.commands import supervise
from registry.models import Deployment, LoopTick, Workspace
from registry.organisation import pausing, removal
from registry.runtime import adoption, backends, job
from registry.runtime.backend import Resource, Unavailable
from registry.runtime.job import Reconciliation
from registry.supervision import jobs
from tests.conftest import ACTOR
from tests.registry.racing import together
from tests.registry.runtime.conftest import row
from tests.registry.runtime.contract import until
from tests.registry.runtime.fake import FakeBackend

pytestmark = pytest.mark.django_db(transaction=True)
Deploy = Callable[..., UUID]


@pytest.fixture
def reconciliation(fake: FakeBackend) -> Iterator[Reconciliation]:
    one = a_job(fake)
    yield one
    wait_for(one)


@pytest.fixture(autouse=True)
def session_without_limits(transactional_db: None) -> Iterator[None]:
    """The limits of the job's threads, whose sessions the pool keeps, must not end the statements of later tests."""
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's backend


def a_job(fake: FakeBackend) -> Reconciliation:
    return Reconciliation(fake, rest=lambda seconds: None)


def wait_for(*reconciliations: Reconciliation) -> None:
    for one in reconciliations:
        for thread in list(one.threads.values()):
            thread.join(30)
            assert not thread.is_alive()


def until_done(one: Reconciliation) -> None:
    while one.step() or one.threads:
        wait_for(one)


def test_a_step_begins_what_is_due_and_ticks(reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy) -> None:
    one = deploy()
    assert reconciliation.step()
    wait_for(reconciliation)
    assert (row(one).state, row(one).claimed_by) == ("starting", None)
    assert not reconciliation.step()
    assert LoopTick.objects.get(name=jobs.RUNTIME).detail["working"] == 0


def test_not_more_than_a_few_at_once(
    reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy, settings: Any
) -> None:
    settings.RUNTIME_CONCURRENCY = 2
    for _ in range(5):
        deploy()
    go, working, most = threading.Event(), [0], [0]
    mutex = threading.Lock()

    def count(method: str) -> None:
        with mutex:
            working[0] += 1
            most[0] = max(most[0], working[0])
        go.wait(30)
        with mutex:
            working[0] -= 1

    fake.before = count
    reconciliation.step()
    until(lambda: working[0] == 2)
    reconciliation.step()
    assert len(reconciliation.threads) == 2
    go.set()
    until_done(reconciliation)
    assert (len(fake.running), most[0]) == (5, 2)


def test_a_claim_lasts_as_long_as_its_work(reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy) -> None:
    one, go = deploy(), threading.Event()

    def wait(method: str) -> None:
        go.wait(30)

    fake.before = wait
    reconciliation.step()
    Deployment.objects.update(claimed_until="2000-01-01T00:00:00Z")
    reconciliation.step()
    other = a_job(fake)
    assert not other.step()
    go.set()
    wait_for(reconciliation)
    assert (row(one).state, fake.started[one]) == ("starting", 1)


def test_two_supervisors_start_each_once(fake: FakeBackend, deploy: Deploy) -> None:
    created = [deploy(f"Agent {n}") for n in range(12)]
    fake.before = lambda method: time.sleep(0.01)
    supervisors = [a_job(fake), a_job(fake)]
    together(*(lambda one=one: until_done(one) for one in supervisors))
    assert Counter(fake.calls) == Counter(("start", each) for each in created)
    assert set(Deployment.objects.values_list("state", "claimed_by")) == {("starting", None)}


def test_an_agent_that_ends_is_noticed(
    reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = deploy()
    until_done(reconciliation)
    fake.die(one)
    monkeypatch.setattr(job, "WATCH_SECONDS", 0.0)
    until_done(reconciliation)
    assert (row(one).state, row(one).reason) == ("failed", "ended")


def test_an_error_in_a_thread_is_tried_again(
    reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy, caplog: pytest.LogCaptureFixture
) -> None:
    one = deploy()

    def fail(method: str) -> None:
        raise KeyError("of the code")

    fake.before = fail
    reconciliation.step()
    wait_for(reconciliation)
    assert "tried again" in caplog.text
    fake.before = lambda method: None
    Deployment.objects.update(claimed_until="2000-01-01T00:00:00Z")
    until_done(reconciliation)
    assert (row(one).state, fake.started[one]) == ("starting", 1)


# --- What the database does not know --------------------------------------------------------------------


def test_lost_rows_are_adopted_and_nothing_is_restarted(fake: FakeBackend, deploy: Deploy) -> None:
    one, paused = deploy("One"), deploy("Paused")
    until_done(a_job(fake))
    Deployment.objects.all().delete()
    Workspace.objects.filter(id=paused).update(status="paused")
    until_done(a_job(fake))
    assert (row(one).state, row(one).resource_id) == ("starting", fake.running[one].resource_id)
    assert row(one).url == fake.running[one].url
    assert (row(paused).state, list(fake.running)) == ("stopped", [one])
    assert fake.started[one] == fake.started[paused] == 1


def test_orphans_are_removed_after_a_while(fake: FakeBackend, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    known, gone, unknown = deploy("Known"), deploy("Gone"), uuid4()
    reconciliation = a_job(fake)
    until_done(reconciliation)
    removal.remove(gone, actor=ACTOR, confirm=True)
    until_done(reconciliation)
    for orphan in (gone, unknown):
        fake.running[orphan] = Resource(workspace_id=orphan, generation=1, resource_id="fake-orphan")
    monkeypatch.setattr(job, "ADOPT_SECONDS", 0.0)
    until_done(reconciliation)
    assert fake.running.keys() == {known, gone, unknown}
    monkeypatch.setattr(adoption, "ORPHAN_SECONDS", 0.0)
    reconciliation.step()
    wait_for(reconciliation)
    assert fake.running.keys() == {known}


def test_a_backend_that_cannot_list_is_an_error_of_the_job(
    reconciliation: Reconciliation, fake: FakeBackend, monkeypatch: pytest.MonkeyPatch, deploy: Deploy
) -> None:
    def fail() -> list[Resource]:
        raise Unavailable("engine", "the engine does not answer")

    one = deploy()
    monkeypatch.setattr(fake, "list_owned", fail)
    with pytest.raises(Unavailable):
        reconciliation.step()
    until_done(reconciliation)
    assert row(one).state == "starting"


# --- The supervisor -------------------------------------------------------------------------------------


def test_without_a_backend_there_is_no_such_job(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    class Process:
        def __init__(self, steps: dict[str, object], stopping: threading.Event) -> None:
            seen.append(set(steps))

        def run(self, asked: object) -> None:
            """Ends at once."""

    monkeypatch.setattr(supervise, "Process", Process)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    for name in ("", "process"):
        settings.RUNTIME_BACKEND = name
        supervise.Command().handle()
    assert [jobs.RUNTIME in names for names in seen] == [False, True]
    assert jobs.RUNTIME in jobs.descriptions()
    settings.RUNTIME_BACKEND = ""
    assert jobs.RUNTIME not in jobs.descriptions()


def test_the_configured_backend(settings: Any, tmp_path: Path) -> None:
    assert backends.configured() is None
    settings.RUNTIME_BACKEND, settings.STATE_DIR = "process", tmp_path
    found = backends.configured()
    assert found is not None
    assert found.name == "process"


def test_restart_of_a_team_member_only(reconciliation: Reconciliation, fake: FakeBackend, deploy: Deploy) -> None:
    one, other = deploy("One"), deploy("Other")
    until_done(reconciliation)
    pausing.restart(one, actor=ACTOR)
    until_done(reconciliation)
    assert (fake.started[one], fake.started[other]) == (2, 1)
