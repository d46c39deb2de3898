"""What the parts of the benchmark share: a platform with production settings, its agents, and measuring under load."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import psycopg
import redis

from molecule.run import WEB
from tests.bench import agents, load
from tests.bench.agents import Seeded
from tests.bench.machine import Cpu
from tests.bench.table import Figure
from tests.e2e.stack import Platform, free_port, manage, process, running_platform, until

WARM_UP_SECONDS = 2.0
# Production settings; requests carry the headers of a TLS proxy. Leases outlast the benchmark.
SETTINGS = {
    "DEBUG": "false",
    "PROXY_SCHEME": "true",
    "ALLOWED_HOSTS": "127.0.0.1",
    "SECRET_KEY": "only for a benchmark, on loopback, with engines of its own, for some minutes",
    "SECRETS_ENCRYPTION_KEY": "ab" * 32,
    "MOLECULE_READ_ENV_FILE": "false",
    "MOLECULE_ENROLMENT": "token",
    "LEASE_SECONDS": "600",
    "RATE_LIMIT": "1000000000",
    "RATE_LIMIT_HEARTBEATS": "1000000000",
    "RATE_LIMIT_CHANGES": "1000000000",
    "LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore:No directory at",  # no page is requested, so static files were not collected
}


@dataclass(frozen=True)
class Load:
    """The requests that were sent for a figure."""

    requests: Sequence[bytes]
    connections: int


@dataclass
class Bench:
    platform: Platform
    agents: list[Seeded]
    seconds: float
    database: "psycopg.Connection[Any]"
    redis: "redis.Redis"
    found: dict[str, float] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    """By figure; only for the platform's own web process."""

    def once(self, what: str, measure: Callable[[], float]) -> float:
        """Measure once a figure that several parts compare with."""
        if what not in self.found:
            self.found[what] = measure()
        return self.found[what]

    def roots(self, web: int) -> dict[str, int]:
        """The root process of each component, with `web` as the web process."""
        postmaster = (self.platform.state / "postgres" / "postmaster.pid").read_text().split()[0]
        server: Any = self.redis.info("server")
        return {
            "web": web,
            "PostgreSQL": int(postmaster),
            "Redis": int(server["process_id"]),
            "supervisor": self.platform.supervisor.pid,
        }

    def now(self) -> Any:
        return self.one("SELECT clock_timestamp()")

    def one(self, query: str, *values: object) -> Any:
        row = self.database.execute(query, values).fetchone()
        return None if row is None else row[0]

    def post(self, path: str, body: object, token: str) -> httpx.Response:
        """One request, to check the answer before load is measured."""
        headers = {"X-Forwarded-Proto": "https"} | ({"Authorization": f"Bearer {token}"} if token else {})
        return httpx.post(f"{self.platform.url}{path}", json=body, headers=headers, timeout=30)

    def load(
        self, what: str, requests: Sequence[bytes], *, connections: int, each: int = 1, server: "Server | None" = None
    ) -> Figure:
        """Send load, first to warm up, then to measure. Each request does `each` of what is counted."""
        if server is None:
            self.loads[what] = Load(requests, connections)
        url, pid = (self.platform.url, self.platform.web.pid) if server is None else (server.url, server.pid)
        load.run(url, requests, connections=connections, seconds=WARM_UP_SECONDS)
        before = Cpu.now(self.roots(pid))
        came = load.run(url, requests, connections=connections, seconds=self.seconds)
        spent = Cpu.now(self.roots(pid)).since(before)
        if came.refused or came.broken or not came.requests:
            raise RuntimeError(f"{what}: {came.refused} refused, {came.broken} broken of {came.requests}")
        figure = self.figure(what, came.requests * each, came.seconds, spent, clients=[came.cpu])
        return replace(figure, latency_ms=(came.p50, came.p99))

    def figure(self, what: str, count: int, seconds: float, spent: Cpu, *, clients: Sequence[float] = ()) -> Figure:
        """A figure for `count` in `seconds`; `clients`: the CPU seconds of each client process."""
        others = spent.busy - spent.total - sum(clients)
        shares = {name: part / spent.at for name, part in spent.parts.items() if part > 0.005 * spent.at}
        return Figure(
            what=what,
            value=count / seconds,
            cpu_ms=1000 * spent.total / max(count, 1),
            shares=", ".join(f"{name} {share:.0%}" for name, share in shares.items()),
            client=max(clients) / spent.at if clients else None,
            unrelated=max(0.0, others / spent.at),
        )


@dataclass
class Server:
    url: str
    pid: int


@contextmanager
def serving(bench: Bench, *options: str, command: Sequence[str] = WEB) -> Iterator[Server]:
    """A second web process, with other options or another application."""
    port = free_port()
    log = bench.platform.state / "another.log"
    with (
        log.open("ab") as output,
        process([*command, "--port", str(port), *options], bench.platform.environment, output) as web,
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), f"{url} to answer")
        yield Server(url, web.pid)


def instead(application: str) -> list[str]:
    """The command of a web process, with another application."""
    return [argument.replace("molecule.asgi:application", application) for argument in WEB]


def naive(bench: Bench) -> Any:
    return serving(bench, command=instead("tests.bench.naive:application"))


def _answers(url: str) -> bool:
    try:
        httpx.get(url, headers={"X-Forwarded-Proto": "https"}, timeout=2)
    except httpx.TransportError:
        return False
    return True


@contextmanager
def prepared(count: int, seconds: float, say: Callable[[str], None]) -> Iterator[Bench]:
    """A platform with `count` workspaces."""
    with ExitStack() as stack:
        say("starting PostgreSQL, Redis, web and supervisor")
        platform = stack.enter_context(running_platform(**SETTINGS))
        say(f"seeding {count:,} workspaces")
        file = platform.state / "agents"
        script = f"from pathlib import Path; from tests.bench import world; world.seed({count}, Path({str(file)!r}))"
        owner = platform.environment["DATABASE_OWNER_URL"]
        # As the owner, who may ANALYZE.
        manage({**platform.environment, "DATABASE_URL": owner}, "shell", "-v0", "-c", script)
        database = stack.enter_context(psycopg.connect(owner, autocommit=True))
        client = stack.enter_context(redis.Redis.from_url(platform.environment["REDIS_URL"]))
        bench = Bench(platform, agents.read(file), seconds, database, client)
        # As if web had been running for long: otherwise no lease expires.
        until(
            lambda: bench.one("SELECT count(*) FROM loop_ticks WHERE name = 'web'"), "the heartbeat of the web process"
        )
        database.execute("UPDATE loop_ticks SET since = '2000-01-01' WHERE name = 'web'")
        yield bench
