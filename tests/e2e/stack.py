"""A whole platform as real processes: engines, web, supervisor, each stopped by its own pid."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from molecule.embedded import database_urls, running_postgres, running_redis
from molecule.run import WEB
from tests import prepared
from tests.prepared import manage as manage

ROOT = Path(__file__).resolve().parents[2]
MAX_WAIT_SECONDS = 30.0
# Several platforms may start at once.
START_SECONDS = 180.0


@dataclass
class Agent:
    """A registered workspace; `beat` sends one heartbeat."""

    id: str
    token: str
    url: str

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers={"Authorization": f"Bearer {self.token}"})

    def beat(self, **fields: Any) -> httpx.Response:
        return self.post("/registry/heartbeat", {"workspace_id": self.id, **fields})


@dataclass
class Platform:
    url: str
    environment: dict[str, str]
    operator_token: str
    username: str
    password: str
    web: "subprocess.Popen[bytes]"
    supervisor: "subprocess.Popen[bytes]"
    api: httpx.Client
    state: Path

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def create(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = self.api.post("/workspaces", json={"name": name, **fields})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def agent(self, name: str, **fields: Any) -> Agent:
        """Create a workspace and register an agent for it."""
        return register(self.url, self.create(name, **fields), name)

    def status(self, workspace_id: str) -> str:
        return str(self.api.get(f"/workspaces/{workspace_id}").json()["status"])


def register(url: str, created: dict[str, Any], name: str) -> Agent:
    """The agent of a workspace that was just created. `created`: the answer to POST /workspaces."""
    answer = httpx.post(
        f"{url}/registry/register",
        json={"id": created["id"], "url": "remote://no-inbound", "agent_card": {"name": name}},
        headers={"Authorization": f"Bearer {created['enrolment_token']}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return Agent(id=created["id"], token=answer.json()["auth_token"], url=url)


@contextmanager
def running_platform(**settings: str) -> Iterator[Platform]:
    """Fresh engines on prepared data, with web and supervisor on a free port; `settings` are environment variables."""
    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-e2e-")))
        state.chmod(0o711)  # PostgreSQL runs as another user and passes through
        operator = prepared.copy_to(state)
        port = free_port()
        environment = {
            **os.environ,
            **database_urls(stack.enter_context(running_postgres(state))),
            "REDIS_URL": stack.enter_context(running_redis(state)),
            "DEBUG": "true",
            "PORT": str(port),
            **settings,
        }
        web = stack.enter_context(process(web_command(port), environment))
        supervisor = stack.enter_context(process(SUPERVISE, environment))
        url = f"http://127.0.0.1:{port}"
        # Production settings redirect to https unless a proxy in front says that it was.
        scheme = "https" if environment.get("PROXY_SCHEME") == "true" else "http"
        headers = {"Authorization": f"Bearer {operator.token}", "X-Forwarded-Proto": scheme}
        api = stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=10))
        until(lambda: _answers(api), "the web process to answer", seconds=START_SECONDS)
        # Both at once: a supervisor ends after its step.
        stack.callback(web.terminate)
        stack.callback(supervisor.terminate)
        yield Platform(
            url, environment, operator.token, operator.username, operator.password, web, supervisor, api, state
        )


SUPERVISE = [sys.executable, "manage.py", "supervise"]


def web_command(port: int, *options: str) -> list[str]:
    """As `make run` starts it."""
    return [*WEB, "--port", str(port), "--timeout-graceful-shutdown", "3", *options]


@contextmanager
def process(
    command: list[str], environment: dict[str, str], output: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def web(platform: Platform, *options: str, **settings: str) -> Iterator[tuple[str, Any]]:
    """One more web process on the same PostgreSQL and Redis."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**platform.environment, "PORT": str(port), **settings}
    with process([*web_command(port), *options], environment) as started, httpx.Client(base_url=url) as client:
        until(lambda: _answers(client), "the other web process to answer", seconds=START_SECONDS)
        yield url, started


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process hangs meanwhile: connections to it open, and nothing is answered."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def until(condition: Any, what: str, *, seconds: float = MAX_WAIT_SECONDS) -> Any:
    """Waits until the condition is true and returns its value. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/health").status_code == 200
    except httpx.TransportError:
        return False
