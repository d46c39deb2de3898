"""Agents with a `requirements.txt`: their environments are built by pip, from wheels that the tests write."""

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from registry.config.contents import Content
from registry.runtime import folders, virtualenvs
from registry.runtime.backend import Liveness, Refused, Spec, Unavailable
from registry.runtime.process import ProcessBackend
from tests.registry.racing import together
from tests.registry.runtime.contract import READY, Created, until
from tests.registry.runtime.wheels import offer

AGENT = f"import time, tiny\ntiny.hello()\nprint('{READY}')\ntime.sleep(600)\n"


def spec(requirements: str = "tiny==1.0", *, agent: str = AGENT, workspace_id: UUID | None = None) -> Spec:
    files = {"agent.py": Content(agent.encode()), "requirements.txt": Content(requirements.encode())}
    return Spec(workspace_id=workspace_id or uuid4(), generation=1, tier=2, runtime="python", files=files)


@pytest.fixture
def runtimes(root: Path) -> Path:
    return root.parent / "runtimes"


@pytest.fixture(autouse=True)
def wheels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in offer(root.parent / "wheels", "tiny", "other").items():
        monkeypatch.setenv(name, value)


def built(runtimes: Path) -> list[Path]:
    return [path for path in runtimes.iterdir() if path.is_symlink()]


def leftovers(runtimes: Path) -> list[str]:
    """What is neither an environment nor the lock."""
    used = {path.readlink().name for path in built(runtimes)} | {path.name for path in built(runtimes)}
    return [path.name for path in runtimes.iterdir() if path.name not in {*used, "lock"}]


def test_the_agent_runs_with_its_packages(backend: ProcessBackend) -> None:
    one = spec()
    backend.check(one)
    backend.prepare(one)
    backend.start(one, Created())
    try:
        until(lambda: READY in backend.logs(one.workspace_id, lines=50))
        text = backend.logs(one.workspace_id, lines=50)
        assert "building the environment" in text
        assert "Successfully installed tiny-1.0" in text
        assert "hello from tiny" in text
    finally:
        backend.remove(one.workspace_id)


def test_it_sees_no_packages_of_the_platform(backend: ProcessBackend) -> None:
    one = spec(agent="import django")
    backend.prepare(one)
    backend.start(one, Created())
    try:
        until(lambda: backend.probe(one.workspace_id).liveness == Liveness.DEAD)
        assert "No module named 'django'" in backend.logs(one.workspace_id, lines=2)
    finally:
        backend.remove(one.workspace_id)


def test_its_commands_are_on_the_path(backend: ProcessBackend) -> None:
    files = {"config.yaml": Content(b"entrypoint: tiny"), **spec().files}
    one = Spec(workspace_id=uuid4(), generation=1, tier=2, runtime="python", files=files)
    backend.prepare(one)
    backend.start(one, Created())
    try:
        until(lambda: backend.probe(one.workspace_id).liveness == Liveness.DEAD)
        assert backend.probe(one.workspace_id).detail == "exited with status 0"
    finally:
        backend.remove(one.workspace_id)


def test_it_is_built_once_for_the_same_requirements(backend: ProcessBackend, runtimes: Path) -> None:
    first, second, third = spec(), spec("# the same\ntiny==1.0\n"), spec("other")
    for one in (first, second, third):
        backend.prepare(one)
    assert len(built(runtimes)) == 2
    assert backend.logs(second.workspace_id, lines=50) == ""
    assert "Successfully installed other-1.0" in backend.logs(third.workspace_id, lines=50)
    assert leftovers(runtimes) == []


def test_two_supervisors_build_it_once(root: Path, runtimes: Path) -> None:
    backends, specs = [ProcessBackend(root), ProcessBackend(root)], [spec(), spec()]
    together(
        *(lambda backend=backend, one=one: backend.prepare(one) for backend, one in zip(backends, specs, strict=True))
    )
    assert len(built(runtimes)) == 1
    assert leftovers(runtimes) == []
    logs = [backends[0].logs(one.workspace_id, lines=50) for one in specs]
    assert sorted("Successfully installed" in log for log in logs) == [False, True]


def test_agents_cannot_change_it(backend: ProcessBackend, runtimes: Path) -> None:
    backend.prepare(spec())
    [environment] = built(runtimes)
    paths = [path for path in environment.resolve().rglob("*") if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_uid != os.geteuid() or path.stat().st_mode & 0o022] == []
    assert [path for path in paths if not path.stat().st_mode & 0o004] == []


def test_what_cannot_be_had_is_told_with_the_last_lines_of_pip(backend: ProcessBackend, runtimes: Path) -> None:
    one = spec("tiny==2.0")
    with pytest.raises(Unavailable, match=r"No matching distribution found for tiny==2\.0") as failed:
        backend.prepare(one)
    assert failed.value.reason == "requirements_failed"
    assert "No matching distribution" in backend.logs(one.workspace_id, lines=50)
    assert (built(runtimes), leftovers(runtimes)) == ([], [])


def test_what_takes_too_long_is_given_up(
    backend: ProcessBackend, runtimes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtualenvs, "BUILD_SECONDS", 0.001)
    with pytest.raises(Unavailable, match="not installed within") as failed:
        backend.prepare(spec())
    assert failed.value.reason == "requirements_failed"
    assert (built(runtimes), leftovers(runtimes)) == ([], [])


def test_no_code_of_a_package_runs_while_it_is_installed(backend: ProcessBackend, root: Path) -> None:
    """A source distribution would run as the platform's user."""
    (root.parent / "wheels" / "source-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(Unavailable, match="No matching distribution"):
        backend.prepare(spec("source"))


def test_what_is_no_requirement_is_refused_before_anything_is_built(backend: ProcessBackend, runtimes: Path) -> None:
    with pytest.raises(Refused, match="line 1"):
        backend.check(spec("--index-url https://evil.example"))
    assert not runtimes.exists()


def test_without_pip_it_is_refused(backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtualenvs, "RUNNER", "no-such-file")
    with pytest.raises(Refused, match="needs pip"):
        backend.check(spec())


def test_what_a_killed_supervisor_has_left_is_deleted(backend: ProcessBackend, runtimes: Path) -> None:
    backend.prepare(spec())
    half = runtimes / "0123.half"
    half.mkdir()
    (half / "python").write_text("")
    (runtimes / "0123.link").symlink_to(half.name)
    backend.prepare(spec("other"))
    assert leftovers(runtimes) == []
    assert len(built(runtimes)) == 2


def test_one_that_was_deleted_is_built_again(backend: ProcessBackend, runtimes: Path) -> None:
    backend.prepare(spec())
    [environment] = built(runtimes)
    folders.delete(environment.resolve())
    backend.prepare(spec())
    assert (environment / "bin" / "python").exists()
    assert leftovers(runtimes) == []


def test_pip_is_told_nothing_of_the_platform() -> None:
    given = {"PATH": "p", "HOME": "h", "PIP_INDEX_URL": "i", "https_proxy": "s", "SSL_CERT_FILE": "c"}
    hidden = {"SECRETS_ENCRYPTION_KEY": "k", "DATABASE_URL": "d", "PYTHONPATH": "x"}
    assert virtualenvs._environment(given | hidden) == given
