"""The faults. Each stops one process or one dependency under load, and asserts that it really did."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from activity import cache_versions
from tests.chaos.experiment import Experiment
from tests.chaos.system import Component
from tests.e2e.stack import until

OUTAGE_SECONDS = 12.0
CHECK_SECONDS = 2.5
"""Supervisors check the leases more often than this."""
GRANTED_SECONDS = 0.5
"""PostgreSQL grants a free lock to whoever waits for it within this time."""
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


def _engine(
    experiment: Experiment, part: Component, inject: Callable[[], None], how: str, *, serves: bool = True
) -> None:
    before = part.pid
    experiment.inject(f"{how} {part.name}", inject, part.start, serves=serves)
    assert part.pid != before, f"{part.name} was not started again"


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
)
SHORT: tuple[Fault, ...] = (web_killed, redis_killed, postgres_killed, connections_dropped)


def inject_all(faults: Sequence[Fault]) -> Fault:
    """One fault that injects these in order."""

    def run(experiment: Experiment) -> None:
        for fault in faults:
            fault(experiment)

    return run
