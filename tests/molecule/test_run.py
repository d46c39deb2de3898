"""`python -m molecule.run`: its processes, its files, and how it ends."""

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

LONGEST_START = 60.0


class Runner:
    """One `python -m molecule.run` on a state of its own."""

    def __init__(self, state: Path, port: int | None = None, **environment: str) -> None:
        self.state = state
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ours = {*SETTINGS, "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        clean = {name: value for name, value in os.environ.items() if name not in ours}
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
        """Web, supervisor, PostgreSQL and Redis, and the runner itself."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.state / 'operator-token').read_text().strip()}"}

    def serving(self) -> "Runner":
        def banner() -> bool:
            assert self.process.poll() is None, self.output
            return "Ctrl-C" in self.output

        until(banner, "the banner", seconds=LONGEST_START)
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)

    def child(self, part: str) -> int:
        """The pid of the one whose command line has `part`."""
        return next(pid for pid in self.pids[1:] if part in Path(f"/proc/{pid}/cmdline").read_text())


@contextmanager
def fresh_state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molecule-run-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "state"


@pytest.fixture
def start() -> Iterator[Callable[..., Runner]]:
    with ExitStack() as stack:

        def run(state: Path | None = None, **options: object) -> Runner:
            runner = Runner(state or stack.enter_context(fresh_state()), **options)  # type: ignore[arg-type]
            stack.callback(end, runner)
            return runner

        yield run


def end(runner: Runner) -> None:
    if runner.process.poll() is None:
        runner.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[Runner]:
    with fresh_state() as state:
        runner = Runner(state)
        try:
            yield runner.serving()
        finally:
            end(runner)


@pytest.fixture(scope="module")
def settled() -> Iterator[Path]:
    """A state that several tests use in turn: only the first start on it creates the database."""
    with fresh_state() as state:
        yield state


def exists(pid: int) -> bool:
    """False also for a zombie that its parent has not reaped."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def all_gone(pids: list[int]) -> None:
    until(lambda: not any(map(exists, pids)), f"{pids} to be gone")


def test_it_serves_and_says_where(running: Runner) -> None:
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok"}
    for address in (running.url, f"{running.url}/admin/", f"{running.url}/api/docs"):
        assert address in running.output
    assert "make demo" in running.output


def test_the_printed_password_signs_in(running: Runner) -> None:
    printed = dict(re.findall(r"^  (username|password)  (\S+)$", running.output, re.MULTILINE))
    kept = dict(line.split(": ") for line in (running.state / "operator").read_text().splitlines())
    assert printed == kept
    with httpx.Client(base_url=running.url) as browser:
        browser.get("/admin/login/")
        form = {**printed, "csrfmiddlewaretoken": browser.cookies["csrftoken"], "next": "/health"}
        assert browser.post("/admin/login/", data=form).headers["Location"] == "/health"


def test_the_kept_token_is_an_operators(running: Runner) -> None:
    assert httpx.get(f"{running.url}/workspaces", headers=running.token).status_code == 200
    assert httpx.get(f"{running.url}/workspaces").status_code == 401


def test_secrets_are_for_the_owner_alone_and_on_no_command_line(running: Runner) -> None:
    names = ("env", "engines", "operator", "operator-token", "postgres.log", "redis.log")
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


def test_a_taken_port_is_said_before_anything_starts(running: Runner, start: Callable[..., Runner]) -> None:
    other = start(port=running.port)
    assert other.process.wait(30) == 1
    assert f"port {running.port} is taken: use another, PORT={running.port + 1} make run" in other.output
    assert not (other.state / "postgres").exists()


def test_a_port_that_is_not_a_number_is_refused(start: Callable[..., Runner]) -> None:
    runner = start(PORT="eight")
    assert runner.process.wait(30) == 1
    assert "PORT must be a number" in runner.output
    assert "Traceback" not in runner.output


def test_two_states_run_at_once_each_with_its_own_data(
    running: Runner, settled: Path, start: Callable[..., Runner]
) -> None:
    other = start(settled).serving()
    httpx.post(f"{other.url}/workspaces", headers=other.token, json={"name": "Only here"}).raise_for_status()
    assert httpx.get(f"{running.url}/workspaces", headers=running.token).json() == []
    other.stop()
    until(lambda: httpx.get(f"{running.url}/health/ready").is_success, "the first to be ready")


def test_manage_py_by_hand_finds_the_running_engines(running: Runner) -> None:
    code = "from django.contrib.auth.models import User; print(User.objects.get().username)"
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=running.environment, capture_output=True, text=True)
    assert done.stdout.strip() == "operator"


def test_each_signal_stops_all_of_it_quietly_and_the_data_stays(settled: Path, start: Callable[..., Runner]) -> None:
    for count, how in enumerate([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]):
        runner = start(settled).serving()
        name = {"name": f"Kept {how.name}"}
        httpx.post(f"{runner.url}/workspaces", headers=runner.token, json=name).raise_for_status()
        rows = httpx.get(f"{runner.url}/workspaces", headers=runner.token).json()
        assert len([row for row in rows if row["name"].startswith("Kept")]) == count + 1
        assert (settled / "operator").read_text().split()[-1] not in runner.output or count == 0
        pids = runner.pids
        assert len(pids) == 5
        assert runner.stop(how) == 0
        assert not [pid for pid in pids if exists(pid)]
        assert "Traceback" not in runner.output
        assert not (settled / "engines").exists()


def test_a_signal_while_it_starts_is_no_error(settled: Path, start: Callable[..., Runner]) -> None:
    runner = start(settled)
    until(lambda: "migrating the database" in runner.output, "it to start")
    assert runner.stop() == 0
    assert "Traceback" not in runner.output


def test_killed_it_leaves_no_orphans_and_starts_again_at_once(settled: Path, start: Callable[..., Runner]) -> None:
    first = start(settled).serving()
    pids = first.pids
    first.stop(signal.SIGKILL)
    second = start(first.state, port=first.port).serving()
    all_gone(pids)
    until(lambda: httpx.get(f"{second.url}/health/ready").is_success, "it to be ready")


def test_production_is_told_to_start_the_web_as_it_is_started_here() -> None:
    told = (ROOT / "docs/configuration.md").read_text().replace("\\\n", " ")
    assert " ".join(["python", *WEB[1:]]) in " ".join(told.split())


@pytest.mark.parametrize(("part", "name"), [("uvicorn", "web"), ("supervise", "supervisor"), ("postgres", "postgres")])
def test_when_a_part_dies_it_says_which_and_stops_the_rest(
    part: str, name: str, settled: Path, start: Callable[..., Runner]
) -> None:
    runner = start(settled).serving()
    pids = runner.pids
    os.kill(runner.child(part), signal.SIGKILL)
    assert runner.process.wait(30) == 1
    assert f"molecule: {name} was killed by SIGKILL. " in runner.output
    all_gone(pids)


def test_when_a_part_ends_its_status_and_last_lines_are_shown(settled: Path, start: Callable[..., Runner]) -> None:
    runner = start(settled).serving()
    httpx.get(runner.url, headers={"Host": "elsewhere.example"})
    until(lambda: "elsewhere.example" in runner.output, "the web process to complain")
    os.kill(runner.child("uvicorn"), signal.SIGKILL)
    assert runner.process.wait(30) == 1
    [_, report] = runner.output.split("molecule: web was killed by SIGKILL. Its last lines:\n")
    assert report.startswith("  ")
    assert "elsewhere.example" in report


def test_a_part_that_exits_is_reported_with_its_status(settled: Path, start: Callable[..., Runner]) -> None:
    runner = start(settled).serving()
    os.kill(runner.child("supervise"), signal.SIGTERM)
    assert runner.process.wait(30) == 1
    assert "molecule: supervisor exited with status 0. " in runner.output


def test_engines_that_are_given_are_used_and_not_started(start: Callable[..., Runner]) -> None:
    given = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    runner = start(**given).serving()
    assert len(runner.pids) == 3
    assert not (runner.state / "postgres").exists()
    assert runner.stop() == 0


def test_what_the_process_is_given_wins_over_the_environment_file(start: Callable[..., Runner]) -> None:
    with fresh_state() as state:
        state.mkdir(mode=0o711)
        (state / "env").write_text("SECRET_KEY=kept\nDEBUG=true\nPORT=1\nHOST=no.such.host.invalid\n")
        given = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        runner = start(state, HOST="127.0.0.1", **given).serving()
        assert httpx.get(f"{runner.url}/health").status_code == 200
        assert runner.stop() == 0
