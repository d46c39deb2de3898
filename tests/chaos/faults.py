"""The faults: something stops under load, or a client attacks. Each asserts that it really did."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx

from activity import cache_versions
from tests.chaos.experiment import Experiment
from tests.chaos.system import Component
from tests.e2e.stack import Agent, register, until
from tests.e2e.test_sockets import raw
from tests.hostile.attacks import locked_row, ping_without_reading
from tests.hostile.measures import MEBIBYTE, PeakMemory

OUTAGE_SECONDS = 12.0
CHECK_SECONDS = 2.5
"""Supervisors check the leases more often than this."""
GRANTED_SECONDS = 0.5
"""PostgreSQL grants a free lock to whoever waits for it within this time."""
LOCKED_SECONDS = 20.0
CARD_BYTES, CARD_CHANGES = 60_000, 60
SLOW_READS = 200
PING_FLOOD_BYTES = 200 * MEBIBYTE
MEMORY_BOUND = 100 * MEBIBYTE
Fault = Callable[[Experiment], None]


def web_killed(experiment: Experiment) -> None:
    """Agents and clients switch to the other web process."""
    experiment.inject("SIGKILL web-0", experiment.system.webs[0].kill, lambda: experiment.system.start_web(0))


def web_stopped(experiment: Experiment) -> None:
    """SIGTERM, as at every deployment: what is acknowledged during the shutdown is committed."""
    experiment.inject("SIGTERM web-1", experiment.system.webs[1].stop, lambda: experiment.system.start_web(1))


def web_frozen(experiment: Experiment) -> None:
    def inject() -> None:
        experiment.system.webs[0].freeze()
        time.sleep(experiment.size.lease / 4)
        experiment.system.webs[0].thaw()

    experiment.inject("SIGSTOP web-0 for a while", inject)


def all_webs_killed(experiment: Experiment) -> None:
    """Longer than a lease: no workspace may go offline because of an outage of the platform itself."""

    def inject() -> None:
        for web in experiment.system.webs:
            web.kill()
        experiment.outages.append((time.time(), float("inf")))

    def repair() -> None:
        time.sleep(OUTAGE_SECONDS)
        down, _ = experiment.outages.pop()
        experiment.outages.append((down, time.time()))
        for number in range(len(experiment.system.webs)):
            experiment.system.start_web(number)

    experiment.inject(f"SIGKILL every web for {OUTAGE_SECONDS:g} s", inject, repair, serves=False)


def supervisors_killed(experiment: Experiment) -> None:
    """One after the other, so that the leader is among them. Agents die meanwhile; they must still go offline."""
    for supervisor in experiment.system.supervisors:
        experiment.inject(f"SIGKILL {supervisor.name}", supervisor.kill, partial(_wait_until_offline, experiment))
        supervisor.start()


def supervisors_frozen(experiment: Experiment) -> None:
    """In the middle of a transaction, with rows and the log locked. Others may not wait for long, and after SIGCONT
    the supervisors may not act on outdated knowledge."""

    def inject() -> None:
        experiment.die()
        until(lambda: _froze_in_transaction(experiment), "a supervisor to be frozen in the middle of a transaction")

    def repair() -> None:
        for supervisor in experiment.system.supervisors:
            supervisor.thaw()

    experiment.inject("SIGSTOP both supervisors", inject, repair)


def _froze_in_transaction(experiment: Experiment) -> bool:
    """Hold the lock of the log until the leader waits for it with rows locked, and freeze it there."""
    with experiment.system.database() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [cache_versions.LOG.lock_id])
        time.sleep(CHECK_SECONDS)
        for supervisor in experiment.system.supervisors:
            supervisor.freeze()
    time.sleep(GRANTED_SECONDS)
    if experiment.system.query("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"):
        return True
    for supervisor in experiment.system.supervisors:
        supervisor.thaw()
    return False


def _wait_until_offline(experiment: Experiment) -> None:
    """The remaining supervisor takes the workspaces of dead agents offline."""

    def online() -> list[Any]:
        return experiment.system.query(
            "SELECT id::text FROM workspaces WHERE id = ANY(%s::uuid[]) AND status IN ('online', 'degraded')",
            list(experiment.dead),
        )

    until(lambda: not online(), "workspaces of dead agents to go offline with one supervisor less")


def redis_flushed(experiment: Experiment) -> None:
    def inject() -> None:
        with experiment.system.cache() as client:
            keys: Any = client.dbsize()
            assert keys, "there was nothing in Redis to flush"
            client.flushall()

    experiment.inject("FLUSHALL", inject)


def redis_frozen(experiment: Experiment) -> None:
    """Redis accepts connections and answers nothing; heartbeats must still be acknowledged."""

    def inject() -> None:
        experiment.system.redis.freeze()
        time.sleep(experiment.size.lease / 2)
        experiment.system.redis.thaw()

    experiment.inject("SIGSTOP redis for a while", inject)


def redis_killed(experiment: Experiment) -> None:
    _engine(experiment, experiment.system.redis, experiment.system.redis.kill, "SIGKILL")


def postgres_killed(experiment: Experiment) -> None:
    log = experiment.system.state / "postgres.log"
    before = _recoveries(log.read_text())
    _engine(experiment, experiment.system.postgres, experiment.system.postgres.kill, "SIGKILL", serves=False)
    assert _recoveries(log.read_text()) > before, "PostgreSQL had nothing to recover from"


def postgres_restarted(experiment: Experiment) -> None:
    _engine(experiment, experiment.system.postgres, experiment.system.postgres.stop, "restart", serves=False)


def connections_dropped(experiment: Experiment) -> None:
    """All connections of the platform to PostgreSQL and Redis, and of agents and clients to the platform."""

    def inject() -> None:
        ended = experiment.system.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid()"
        )
        assert ended, "there was no connection to PostgreSQL"
        with experiment.system.cache() as client:
            killed: Any = client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            killed += client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            assert killed, "there was no connection to Redis"
        for client_process in (*experiment.client_processes, experiment.listeners):
            client_process.call("drop")

    experiment.inject("every connection dropped", inject)


def clients_stalled(experiment: Experiment) -> None:
    """Some clients stop reading while many events happen, and continue later."""
    experiment.listeners.call("stall", count=3)
    experiment.inject(
        "clients that stop reading",
        lambda: time.sleep(experiment.size.lease / 2),
        lambda: experiment.listeners.call("resume"),
    )


def row_locked(experiment: Experiment) -> None:
    """Another transaction holds the row of one workspace while its agent sends heartbeats. No other goes offline."""
    experiment.inject(f"a row locked for {LOCKED_SECONDS:g} s", partial(_lock_a_row, experiment))


def _lock_a_row(experiment: Experiment) -> None:
    [(position,)] = experiment.system.query("SELECT max(seq) FROM structure_events")
    living = sorted(i for i, report in experiment.reports().items() if report["state"] == "alive")
    victim = experiment.chance.choice(living)
    with locked_row(experiment.system.environment["DATABASE_URL"], victim):
        time.sleep(LOCKED_SECONDS)
    offline = experiment.system.query(
        "SELECT seq, workspace_id::text FROM structure_events"
        " WHERE event_type = 'WORKSPACE_OFFLINE' AND seq > %s AND workspace_id = ANY(%s::uuid[])",
        position,
        sorted(set(living) - {victim} - experiment.dead),
    )
    assert not offline, experiment.explained(
        "agents that went offline because of another's row", list(map(str, offline))
    )


def cards_heavy(experiment: Experiment) -> None:
    """One agent changes its card as often and as much as it can. The log grows by the limit, and no more."""
    agent = _new_agent(experiment)

    def inject() -> None:
        answers = Counter(_change_card(agent, number) for number in range(CARD_CHANGES))
        assert {200, 429} == answers.keys(), f"no limit for changes of a card: {answers}"
        grown = _bytes_in_log(experiment, agent.id)
        assert grown < 2 * CARD_BYTES * answers[200], f"{grown} bytes of events for {answers}"

    experiment.inject("an agent with heavy cards", inject)


def reader_slow(experiment: Experiment) -> None:
    """A client asks for the whole log and hardly reads it."""

    def inject() -> None:
        web = experiment.system.webs[0]
        with PeakMemory(web.pid) as peak, _socket(experiment, experiment.system.operator_token, "?since=0") as client:
            for _ in range(SLOW_READS):
                client.recv(1024)
                time.sleep(0.05)
        assert peak.grown < MEMORY_BOUND, f"{web.name} took {peak.grown / MEBIBYTE:.0f} MiB for a slow reader"

    experiment.inject("a slow reader from position 0", inject)


def strangers_ping(experiment: Experiment) -> None:
    """A client without a credential sends pings and reads no answer."""

    def inject() -> None:
        web = experiment.system.webs[0]
        with PeakMemory(web.pid) as peak, _socket(experiment, "") as client:
            ping_without_reading(client, PING_FLOOD_BYTES)
        assert peak.grown < MEMORY_BOUND, f"{web.name} took {peak.grown / MEBIBYTE:.0f} MiB for a stranger's pings"

    experiment.inject("a stranger's pings", inject)


def _engine(
    experiment: Experiment, part: Component, inject: Callable[[], None], how: str, *, serves: bool = True
) -> None:
    before = part.pid
    experiment.inject(f"{how} {part.name}", inject, part.start, serves=serves)
    assert part.pid != before, f"{part.name} was not started again"


def _new_agent(experiment: Experiment) -> Agent:
    """An agent of a new workspace, which sends no heartbeats."""
    url, headers = experiment.system.urls[0], {"Authorization": f"Bearer {experiment.system.operator_token}"}
    created = httpx.post(f"{url}/workspaces", json={"name": "heavy"}, headers=headers, timeout=30).json()
    return register(url, created, "heavy")


def _change_card(agent: Agent, number: int) -> int:
    card = {"name": f"heavy {number}", "description": "d" * CARD_BYTES}
    answer = httpx.post(
        f"{agent.url}/registry/update-card",
        json={"workspace_id": agent.id, "agent_card": card},
        headers={"Authorization": f"Bearer {agent.token}"},
        timeout=30,
    )
    return answer.status_code


def _bytes_in_log(experiment: Experiment, workspace_id: str) -> int:
    [(size,)] = experiment.system.query(
        "SELECT sum(length(payload::text)) FROM structure_events WHERE workspace_id = %s::uuid", workspace_id
    )
    return int(size)


def _socket(experiment: Experiment, token: str, query: str = "") -> socket.socket:
    return raw(experiment.system.urls[0].rpartition(":")[2], token, query)


def _recoveries(log: str) -> int:
    return log.count("automatic recovery in progress")


ALL: tuple[Fault, ...] = (
    web_killed,
    redis_flushed,
    supervisors_killed,
    redis_killed,
    redis_frozen,
    postgres_killed,
    clients_stalled,
    web_stopped,
    connections_dropped,
    web_frozen,
    supervisors_frozen,
    postgres_restarted,
    all_webs_killed,
    row_locked,
    cards_heavy,
    reader_slow,
    strangers_ping,
)
SHORT: tuple[Fault, ...] = (web_killed, redis_killed, postgres_killed, connections_dropped)


def inject_all(faults: Sequence[Fault]) -> Fault:
    """One fault that injects these in order."""

    def run(experiment: Experiment) -> None:
        for fault in faults:
            fault(experiment)

    return run
