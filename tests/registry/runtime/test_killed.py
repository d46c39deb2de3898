"""A supervisor that is killed at any step leaves one agent or none, as wanted, to the next supervisor."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.db import connection

from registry.config.contents import Content
from registry.models import Deployment, WorkspaceToken
from registry.organisation import pausing, removal
from registry.runtime import folders, process_table
from registry.runtime.backend import Liveness
from registry.runtime.process import ProcessBackend
from registry.runtime.process_table import Identity
from tests.conftest import ACTOR
from tests.prepared import ROOT
from tests.registry.runtime.conftest import row, settle
from tests.registry.runtime.contract import until
from tests.registry.runtime.wheels import offer

pytestmark = pytest.mark.django_db(transaction=True)
Deploy = Callable[..., UUID]
AGENT = {
    "config.yaml": Content(b"entrypoint: sh agent.sh"),
    "agent.sh": Content(b"echo $$ >> $HOME/started; exec sleep 600"),
}
START = [
    ("registry.runtime.environment", "assemble", "before"),
    ("registry.runtime.reports", "starting", "before"),
    ("registry.runtime.reports", "starting", "after"),
    ("registry.runtime.folders", "Folder.prepare", "before"),
    ("registry.runtime.folders", "Folder.prepare", "after"),
    ("registry.runtime.process", "ProcessBackend._spawn", "after"),
    ("registry.runtime.process", "_write_note", "after"),
    ("registry.runtime.reconciler", "_note", "after"),
    ("registry.runtime.process", "ProcessBackend._launch", "after"),
    ("registry.runtime.process", "ProcessBackend.start", "after"),
    ("registry.runtime.reconciler", "_start", "after"),
]
RESTART = [
    ("registry.runtime.process", "ProcessBackend.stop", "before"),
    ("registry.runtime.process", "_signal", "after"),
    ("registry.runtime.process", "ProcessBackend.stop", "after"),
    *START[2:],
]
REMOVE = [
    ("registry.runtime.process", "ProcessBackend.remove", "before"),
    ("registry.runtime.process", "_signal", "after"),
    ("registry.runtime.folders", "delete", "before"),
    ("registry.runtime.folders", "delete", "after"),
    ("registry.runtime.process", "ProcessBackend.remove", "after"),
]
BUILD = [
    ("registry.runtime.virtualenvs", "Virtualenv._install", "before"),
    ("registry.runtime.virtualenvs", "_run", "after"),
    ("registry.runtime.virtualenvs", "Virtualenv._install", "after"),
    ("registry.runtime.virtualenvs", "Virtualenv.build", "after"),
]
Point = tuple[str, str, str]
KillAt = Callable[[Point], None]


@pytest.fixture
def state(settings: Any) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molecule-killed-") as folder:
        Path(folder).chmod(0o711)
        settings.RUNTIME_BACKEND, settings.STATE_DIR = "process", Path(folder)
        yield Path(folder)


@pytest.fixture
def backend(state: Path) -> Iterator[ProcessBackend]:
    one = ProcessBackend(state / "workspaces")
    yield one
    for resource in one.list_owned():
        one.remove(resource.workspace_id)
    one.list_owned()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which pip finds the package `tiny`."""
    return offer(tmp_path_factory.mktemp("packages") / "wheels", "tiny")


@pytest.fixture(scope="module")
def supervisors(django_db_setup: None, packages: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    name = connection.settings_dict["NAME"]
    environment = os.environ | {
        "DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl(),
        "DJANGO_SETTINGS_MODULE": "molecule.settings",
        "RUNTIME_BACKEND": "process",
        **packages,
    }
    command = [sys.executable, "-m", "tests.registry.runtime.killed"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:  # type: ignore[call-overload]
        yield process


@pytest.fixture
def kill_at(state: Path, supervisors: "subprocess.Popen[str]") -> Callable[[Point], None]:
    """A supervisor of its own process works until the point. Its claim then ends."""

    def kill_at(point: Point) -> None:
        assert supervisors.stdin is not None
        assert supervisors.stdout is not None
        print(state, *point, file=supervisors.stdin, flush=True)
        assert supervisors.stdout.readline().strip() == str(int(signal.SIGKILL))
        Deployment.objects.filter(claimed_until__isnull=False).update(claimed_until="2000-01-01T00:00:00Z")

    return kill_at


def running(backend: ProcessBackend, workspace_id: UUID) -> list[int]:
    """All processes of the workspace that any supervisor has started."""
    mark = f"CONFIGS_DIR={backend.paths(workspace_id, 2).configs}".encode()
    return process_table.members(Identity("none", 0, 0), mark)


def started(backend: ProcessBackend, workspace_id: UUID) -> list[str]:
    """The numbers of the processes in which the agent began."""
    try:
        return (folders.of(backend.root, workspace_id).workspace / "started").read_text().split()
    except FileNotFoundError:
        return []


def settle_until(backend: ProcessBackend, check: Callable[[], object]) -> None:
    """An agent that waited at its gate when its supervisor was killed may be seen alive once, before it ends."""

    def settled() -> object:
        settle(backend)
        return check()

    until(settled)


@pytest.mark.parametrize("point", START, ids="-".join)
def test_a_start_goes_on(kill_at: KillAt, backend: ProcessBackend, deploy: Deploy, point: Point) -> None:
    one = deploy(files=AGENT)
    kill_at(point)
    settle_until(backend, lambda: started(backend, one))
    assert (row(one).state, row(one).observed_generation) == ("starting", 1)
    [resource] = backend.list_owned()
    assert (resource.resource_id, resource.generation) == (row(one).resource_id, 1)
    assert backend.probe(one).liveness == Liveness.ALIVE
    assert [str(pid) for pid in running(backend, one)] == started(backend, one)
    assert WorkspaceToken.objects.filter(revoked_at=None).count() == 1


@pytest.mark.parametrize("point", BUILD, ids="-".join)
def test_the_building_of_an_environment_goes_on(
    kill_at: KillAt, backend: ProcessBackend, deploy: Deploy, packages: dict[str, str], state: Path,
    monkeypatch: pytest.MonkeyPatch, point: Point,
) -> None:  # fmt: skip
    for name, value in packages.items():
        monkeypatch.setenv(name, value)
    one = deploy(files={**AGENT, "requirements.txt": Content(b"tiny")})
    kill_at(point)
    settle_until(backend, lambda: started(backend, one))
    links = [path for path in (state / "runtimes").iterdir() if path.is_symlink()]
    [environment] = links
    assert (environment / "bin" / "tiny").exists()
    assert {path.name for path in (state / "runtimes").iterdir()} == {
        "lock", environment.name, environment.readlink().name
    }  # fmt: skip


@pytest.mark.parametrize("point", RESTART, ids="-".join)
def test_a_restart_goes_on(kill_at: KillAt, backend: ProcessBackend, deploy: Deploy, point: Point) -> None:
    one = deploy(files=AGENT)
    settle(backend)
    until(lambda: started(backend, one))
    pausing.restart(one, actor=ACTOR)
    kill_at(point)
    settle_until(backend, lambda: len(started(backend, one)) == 2)
    assert (row(one).state, row(one).observed_generation) == ("starting", 2)
    assert [resource.generation for resource in backend.list_owned()] == [2]
    assert [str(pid) for pid in running(backend, one)] == started(backend, one)[1:]


@pytest.mark.parametrize("point", REMOVE, ids="-".join)
def test_a_removal_goes_on(kill_at: KillAt, backend: ProcessBackend, deploy: Deploy, point: Point) -> None:
    one = deploy(files=AGENT)
    settle(backend)
    removal.remove(one, actor=ACTOR, confirm=True)
    kill_at(point)
    settle(backend)
    assert (row(one).state, backend.list_owned(), running(backend, one)) == ("absent", [], [])
    assert not folders.of(backend.root, one).path.exists()
