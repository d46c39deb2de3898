"""The platform as separate processes, each of which can be killed and started again where it was."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis

from molecule.embedded import running_postgres, running_redis
from tests import prepared
from tests.e2e.stack import START_SECONDS, SUPERVISE, free_port, process, until, web_command
from tests.environment import SETTINGS

WEBS = SUPERVISORS = 2
BUSY = r"""
SELECT pid, pg_blocking_pids(pid), state, extract(epoch FROM clock_timestamp() - state_change)::int,
  wait_event, left(regexp_replace(query, '\s+', ' ', 'g'), 150)
FROM pg_stat_activity WHERE usename = current_user AND state <> 'idle' AND pid <> pg_backend_pid()
"""


class Component:
    """One process: `run` starts it and stops it cleanly, `pid` says which it is."""

    def __init__(self, name: str, run: Callable[[], AbstractContextManager[Any]], pid: Callable[[Any], int]) -> None:
        self.name = name
        self.running = ExitStack()
        self._run = run
        self._pid = pid
        self.pid = 0

    def start(self) -> Any:
        """Returns what `run` gave: for PostgreSQL and Redis the URL, which stays the same."""
        given = self.running.enter_context(self._run())
        self.pid = self._pid(given)
        return given

    def stop(self) -> None:
        """Stop it cleanly and wait until it has ended."""
        self.running.close()

    def kill(self) -> None:
        """SIGKILL. Raises AssertionError if the process survives."""
        died = self.pid
        os.kill(died, signal.SIGKILL)
        self.running.close()
        assert not Path(f"/proc/{died}").exists(), f"{self.name}, process {died}, survived SIGKILL"

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: _state(self.pid) == "T", f"{self.name} to freeze")

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@dataclass
class System:
    state: Path
    environment: dict[str, str]
    postgres: Component
    redis: Component
    webs: list[Component]
    supervisors: list[Component]
    urls: list[str]
    operator_token: str = ""

    def start_web(self, number: int) -> None:
        self.webs[number].start()
        until(lambda: _answers(self.urls[number]), f"{self.webs[number].name} to answer")

    @contextmanager
    def database(self) -> Iterator["psycopg.Connection[Any]"]:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            yield connection

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database() as connection:
            return connection.execute(text, values).fetchall()

    @contextmanager
    def cache(self) -> Iterator[Redis]:
        with Redis.from_url(self.environment["REDIS_URL"], decode_responses=True) as client:
            yield client

    def diagnosis(self, lines: int = 30) -> str:
        """Blocked sessions in PostgreSQL, and the last lines of all logs."""
        logs = sorted(self.state.glob("*.log"))
        return "\n".join([*self._sessions(), *(f"--- {log.name}\n{_tail(log, lines)}" for log in logs)])

    def _sessions(self) -> list[str]:
        try:
            busy = self.query(BUSY)
        except psycopg.OperationalError as error:
            return [f"--- PostgreSQL: {error}"]
        return ["--- sessions: pid, blocked by, state for seconds, waits for, query", *map(str, busy)]


@contextmanager
def system(state: Path, **settings: str) -> Iterator[System]:
    """PostgreSQL, Redis, two web processes and two supervisors. Their output goes to logs in `state`."""
    environment = {**os.environ, **SETTINGS, **settings}
    postgres = Component("postgres", lambda: running_postgres(state), lambda url: _postmaster(state))
    keeper = Component("redis", lambda: running_redis(state), _redis_pid)
    token = prepared.copy_to(state).token
    with ExitStack() as stack:
        for part, name in ((postgres, "DATABASE_URL"), (keeper, "REDIS_URL")):
            stack.callback(part.stop)
            environment[name] = part.start()
        ports = [free_port() for _ in range(WEBS)]
        webs = [_part(f"web-{n}", web_command(port), environment, state) for n, port in enumerate(ports)]
        supervisors = [_part(f"supervisor-{n}", SUPERVISE, environment, state) for n in range(SUPERVISORS)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        made = System(state, environment, postgres, keeper, webs, supervisors, urls, token)
        for part in (*webs, *supervisors):
            stack.callback(part.stop)
            part.start()
        for url in urls:
            until(lambda url=url: _answers(url), f"{url} to answer", seconds=START_SECONDS)
        yield made


def _part(name: str, command: list[str], environment: dict[str, str], state: Path) -> Component:
    @contextmanager
    def run() -> Iterator[int]:
        with (state / f"{name}.log").open("ab") as output, process(command, environment, output) as started:
            yield started.pid

    return Component(name, run, int)


def _postmaster(state: Path) -> int:
    return int((state / "postgres" / "postmaster.pid").read_text().split()[0])


def _redis_pid(url: str) -> int:
    with Redis.from_url(url) as client:
        server: Any = client.info("server")
        return int(server["process_id"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _tail(log: Path, lines: int) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
