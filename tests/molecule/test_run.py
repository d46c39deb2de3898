"""`python -m molecule.run`: its processes, its state directory, and how it stops."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from molecule.run import WEB
from tests.e2e.stack import ROOT, free_port, until
from tests.environment import SETTINGS

START_TIMEOUT_SECONDS = 180.0


class Runner:
    """One `python -m molecule.run` process on the state directory `state`."""

    def __init__(self, state: Path, port: int | None = None, **environment: str) -> None:
        self.state = state
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        removed = {*SETTINGS, "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        clean = {name: value for name, value in os.environ.items() if name not in removed}
        self.environment = clean | {"MOLECULE_STATE": str(state), "PORT": str(self.port)} | environment
        self.log = Path(f"{state}-{self.port}.log")
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "molecule.run"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def pids(self) -> list[int]:
        """The runner and its children: web, supervisor, PostgreSQL and Redis."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    @property
    def auth_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.state / 'operator-token').read_text().strip()}"}

    def wait_until_serving(self) -> "Runner":
        def banner_is_printed() -> bool:
            assert self.process.poll() is None, self.output
            return "Ctrl-C" in self.output

        until(banner_is_printed, "the banner", seconds=START_TIMEOUT_SECONDS)
        return self

    def stop(self, signal_number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(30)

    def child(self, part: str) -> int:
        """The pid of the child process whose command line contains `part`."""
        return next(pid for pid in self.pids[1:] if part in Path(f"/proc/{pid}/cmdline").read_text())


@contextmanager
def temporary_state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molecule-run-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "state"


@pytest.fixture
def start() -> Iterator[Callable[..., Runner]]:
    with ExitStack() as stack:

        def run(state: Path | None = None, **options: object) -> Runner:
            runner = Runner(state or stack.enter_context(temporary_state()), **options)  # type: ignore[arg-type]
            stack.callback(ensure_stopped, runner)
            return runner

        yield run


def ensure_stopped(runner: Runner) -> None:
    if runner.process.poll() is None:
        runner.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[Runner]:
    with temporary_state() as state:
        runner = Runner(state)
        try:
            yield runner.wait_until_serving()
        finally:
            ensure_stopped(runner)


@pytest.fixture(scope="module")
def shared_state() -> Iterator[Path]:
    """A state directory that several tests use in turn, so that only the first start creates the database."""
    with temporary_state() as state:
        yield state


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie that its parent has not reaped does not count."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    until(lambda: not any(map(is_running, pids)), f"{pids} to be gone")


def test_the_printed_addresses_are_served(running: Runner) -> None:
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok"}
    for address in (running.url, f"{running.url}/admin/", f"{running.url}/api/docs"):
        assert address in running.output
    assert "make demo" in running.output


def test_the_printed_password_can_log_in(running: Runner) -> None:
    printed = dict(re.findall(r"^  (username|password)  (\S+)$", running.output, re.MULTILINE))
    stored = dict(line.split(": ") for line in (running.state / "operator").read_text().splitlines())
    assert printed == stored
    with httpx.Client(base_url=running.url) as browser:
        browser.get("/admin/login/")
        form = {**printed, "csrfmiddlewaretoken": browser.cookies["csrftoken"], "next": "/health"}
        assert browser.post("/admin/login/", data=form).headers["Location"] == "/health"


def test_the_stored_token_authenticates_an_operator(running: Runner) -> None:
    assert httpx.get(f"{running.url}/workspaces", headers=running.auth_headers).status_code == 200
    assert httpx.get(f"{running.url}/workspaces").status_code == 401


def test_secrets_are_readable_only_by_the_owner_and_on_no_command_line(running: Runner) -> None:
    names = ("env", "engines", "postgres-env", "operator", "operator-token", "postgres.log", "redis.log")
    assert {oct((running.state / name).stat().st_mode & 0o777) for name in names} == {"0o600"}
    secrets = [line.split("=")[1] for line in (running.state / "env").read_text().splitlines() if "KEY=" in line]
    assert len(secrets) == 2
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in running.pids]
    assert not any(secret in command for secret in secrets for command in commands)


def test_a_second_start_on_the_same_state_is_refused(running: Runner, start: Callable[..., Runner]) -> None:
    second = start(running.state)
    assert second.process.wait(30) == 1
    assert f"already running at {running.url}" in second.output
    assert httpx.get(f"{running.url}/health").status_code == 200


def test_a_port_in_use_is_reported_before_anything_starts(running: Runner, start: Callable[..., Runner]) -> None:
    other = start(port=running.port)
    assert other.process.wait(30) == 1
    assert f"port {running.port} is taken: use another, PORT={running.port + 1} make run" in other.output
    assert not (other.state / "postgres").exists()


def test_a_port_that_is_not_a_number_is_refused(start: Callable[..., Runner]) -> None:
    runner = start(PORT="eight")
    assert runner.process.wait(30) == 1
    assert "PORT must be a number" in runner.output
    assert "Traceback" not in runner.output


def test_two_state_directories_run_at_the_same_time_with_separate_data(
    running: Runner, shared_state: Path, start: Callable[..., Runner]
) -> None:
    other = start(shared_state).wait_until_serving()
    httpx.post(f"{other.url}/workspaces", headers=other.auth_headers, json={"name": "Only here"}).raise_for_status()
    assert httpx.get(f"{running.url}/workspaces", headers=running.auth_headers).json() == []
    other.stop()
    until(lambda: httpx.get(f"{running.url}/health/ready").is_success, "the first to be ready")


def test_manage_py_connects_to_the_running_engines(running: Runner) -> None:
    code = "from django.contrib.auth.models import User; print(User.objects.get().username)"
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=running.environment, capture_output=True, text=True)
    assert result.stdout.strip() == "operator"


def test_psql_connects_as_a_superuser(running: Runner) -> None:
    query = "SELECT current_database(), rolsuper FROM pg_roles WHERE rolname = current_user"
    script = f'. {running.state}/postgres-env; psql -XAtc "{query}"'
    result = subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("molecule|t\n", "")


def test_each_signal_stops_all_processes_without_errors_and_keeps_the_data(
    shared_state: Path, start: Callable[..., Runner]
) -> None:
    for count, signal_number in enumerate([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]):
        runner = start(shared_state).wait_until_serving()
        name = {"name": f"Kept {signal_number.name}"}
        httpx.post(f"{runner.url}/workspaces", headers=runner.auth_headers, json=name).raise_for_status()
        rows = httpx.get(f"{runner.url}/workspaces", headers=runner.auth_headers).json()
        assert len([row for row in rows if row["name"].startswith("Kept")]) == count + 1
        assert (shared_state / "operator").read_text().split()[-1] not in runner.output or count == 0
        pids = runner.pids
        assert len(pids) == 5
        assert runner.stop(signal_number) == 0
        assert not [pid for pid in pids if is_running(pid)]
        assert "Traceback" not in runner.output
        assert not any((shared_state / name).exists() for name in ("engines", "postgres-env"))


def test_a_signal_during_startup_stops_it_without_an_error(shared_state: Path, start: Callable[..., Runner]) -> None:
    runner = start(shared_state)
    until(lambda: "migrating the database" in runner.output, "it to start")
    assert runner.stop() == 0
    assert "Traceback" not in runner.output


def test_a_killed_runner_leaves_no_orphans_and_can_start_again_immediately(
    shared_state: Path, start: Callable[..., Runner]
) -> None:
    first = start(shared_state).wait_until_serving()
    pids = first.pids
    first.stop(signal.SIGKILL)
    second = start(first.state, port=first.port).wait_until_serving()
    wait_until_gone(pids)
    until(lambda: httpx.get(f"{second.url}/health/ready").is_success, "it to be ready")


def test_the_documented_web_command_is_the_one_that_the_runner_uses() -> None:
    documentation = (ROOT / "docs/configuration.md").read_text().replace("\\\n", " ")
    assert " ".join(["python", *WEB[1:]]) in " ".join(documentation.split())


@pytest.mark.parametrize(("part", "name"), [("uvicorn", "web"), ("supervise", "supervisor"), ("postgres", "postgres")])
def test_a_killed_child_process_is_named_and_the_others_are_stopped(
    part: str, name: str, shared_state: Path, start: Callable[..., Runner]
) -> None:
    runner = start(shared_state).wait_until_serving()
    pids = runner.pids
    os.kill(runner.child(part), signal.SIGKILL)
    assert runner.process.wait(30) == 1
    assert f"molecule: {name} was killed by SIGKILL. " in runner.output
    wait_until_gone(pids)


def test_the_last_log_lines_of_a_killed_child_process_are_shown(
    shared_state: Path, start: Callable[..., Runner]
) -> None:
    runner = start(shared_state).wait_until_serving()
    httpx.get(runner.url, headers={"Host": "elsewhere.example"})
    until(lambda: "elsewhere.example" in runner.output, "the web process to complain")
    os.kill(runner.child("uvicorn"), signal.SIGKILL)
    assert runner.process.wait(30) == 1
    [_, report] = runner.output.split("molecule: web was killed by SIGKILL. Its last lines:\n")
    assert report.startswith("  ")
    assert "elsewhere.example" in report


def test_a_child_process_that_exits_is_reported_with_its_status(
    shared_state: Path, start: Callable[..., Runner]
) -> None:
    runner = start(shared_state).wait_until_serving()
    supervisor = runner.child("supervise")

    def has_written_its_row() -> bool:
        ready = httpx.get(f"{runner.url}/health/ready", headers=runner.auth_headers).json()
        return any(loop["name"].endswith(f":{supervisor}") for loop in ready["loops"])

    until(has_written_its_row, "the supervisor to handle signals")
    os.kill(supervisor, signal.SIGTERM)
    assert runner.process.wait(30) == 1
    assert "molecule: supervisor exited with status 0. " in runner.output


def test_engines_named_in_the_environment_are_used_and_none_are_started(start: Callable[..., Runner]) -> None:
    urls = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    runner = start(**urls).wait_until_serving()
    assert len(runner.pids) == 3
    assert not (runner.state / "postgres").exists()
    assert runner.stop() == 0


def test_environment_variables_override_the_env_file(start: Callable[..., Runner]) -> None:
    with temporary_state() as state:
        state.mkdir(mode=0o711)
        (state / "env").write_text("SECRET_KEY=kept\nDEBUG=true\nPORT=1\nHOST=no.such.host.invalid\n")
        urls = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        runner = start(state, HOST="127.0.0.1", **urls).wait_until_serving()
        assert httpx.get(f"{runner.url}/health").status_code == 200
        assert runner.stop() == 0
