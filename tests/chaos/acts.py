"""The acts: each strikes one process, or what it stands on, while everybody is at work, and says that it really did."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from activity import cache_versions
from tests.chaos.play import Play
from tests.chaos.stage import Part
from tests.e2e.stack import until

OUTAGE_SECONDS = 12.0
LOOK_SECONDS = 2.5
"""Supervisors look at the leases more often than this."""
GRANTED_SECONDS = 0.5
"""A lock that is free is given to whoever waits for it sooner than that."""
Act = Callable[[Play], None]


def web_killed(play: Play) -> None:
    """The other one goes on serving; agents and clients go there."""
    play.act("SIGKILL web-0", play.stage.webs[0].kill, lambda: play.stage.start_web(0))


def web_stopped(play: Play) -> None:
    """SIGTERM, as at every deployment: what it still answers is answered truly."""
    play.act("SIGTERM web-1", play.stage.webs[1].stop, lambda: play.stage.start_web(1))


def web_frozen(play: Play) -> None:
    def strike() -> None:
        play.stage.webs[0].freeze()
        time.sleep(play.size.lease / 4)
        play.stage.webs[0].thaw()

    play.act("SIGSTOP web-0 for a while", strike)


def all_webs_killed(play: Play) -> None:
    """For so long that leases end unheard: nobody may be declared dead for the platform's own silence."""

    def strike() -> None:
        for web in play.stage.webs:
            web.kill()
        play.outages.append((time.time(), float("inf")))

    def heal() -> None:
        time.sleep(OUTAGE_SECONDS)
        down, _ = play.outages.pop()
        play.outages.append((down, time.time()))
        for number in range(len(play.stage.webs)):
            play.stage.start_web(number)

    play.act(f"SIGKILL every web for {OUTAGE_SECONDS:g} s", strike, heal, serves=False)


def supervisors_killed(play: Play) -> None:
    """One after the other, so that the leader is among them; meanwhile agents die, and somebody must notice."""
    for supervisor in play.stage.supervisors:
        play.act(f"SIGKILL {supervisor.name}", supervisor.kill, partial(_noticed, play))
        supervisor.start()


def supervisors_frozen(play: Play) -> None:
    """In the middle of a transaction, with rows and the log locked. Nobody may wait for them for long, and awake again
    they must not act on what they knew before."""

    def strike() -> None:
        play.die()
        until(lambda: _caught(play), "a supervisor that stands still in the middle of a transaction")

    def heal() -> None:
        for supervisor in play.stage.supervisors:
            supervisor.thaw()

    play.act("SIGSTOP both supervisors", strike, heal)


def _caught(play: Play) -> bool:
    """Whoever leads may have found the dead and locked their rows: then it waits for us, and is stopped waiting."""
    with play.stage.database() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [cache_versions.LOG.lock])
        time.sleep(LOOK_SECONDS)
        for supervisor in play.stage.supervisors:
            supervisor.freeze()
    time.sleep(GRANTED_SECONDS)
    if play.stage.query("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"):
        return True
    for supervisor in play.stage.supervisors:
        supervisor.thaw()
    return False


def _noticed(play: Play) -> None:
    """With one supervisor less, the dead are still found dead."""

    def unnoticed() -> list[Any]:
        return play.stage.query(
            "SELECT id::text FROM workspaces WHERE id = ANY(%s::uuid[]) AND status IN ('online', 'degraded')",
            list(play.dead),
        )

    until(lambda: not unnoticed(), "the dead to be noticed with one supervisor less")


def redis_flushed(play: Play) -> None:
    def strike() -> None:
        with play.stage.cache() as client:
            kept: Any = client.dbsize()
            assert kept, "there was nothing in Redis to flush"
            client.flushall()

    play.act("FLUSHALL", strike)


def redis_frozen(play: Play) -> None:
    """It refuses nobody and answers nobody; agents beat on."""

    def strike() -> None:
        play.stage.redis.freeze()
        time.sleep(play.size.lease / 2)
        play.stage.redis.thaw()

    play.act("SIGSTOP redis for a while", strike)


def redis_killed(play: Play) -> None:
    _engine(play, play.stage.redis, play.stage.redis.kill, "SIGKILL")


def postgres_killed(play: Play) -> None:
    log = play.stage.state / "postgres.log"
    before = _recoveries(log.read_text())
    _engine(play, play.stage.postgres, play.stage.postgres.kill, "SIGKILL", serves=False)
    assert _recoveries(log.read_text()) > before, "PostgreSQL had nothing to recover from"


def postgres_restarted(play: Play) -> None:
    _engine(play, play.stage.postgres, play.stage.postgres.stop, "restart", serves=False)


def connections_dropped(play: Play) -> None:
    """Every connection of the platform to its engines, and of everybody to the platform."""

    def strike() -> None:
        ended = play.stage.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid()"
        )
        assert ended, "nobody was connected to PostgreSQL"
        with play.stage.cache() as client:
            killed: Any = client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            killed += client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            assert killed, "nobody was connected to Redis"
        for crowd in (*play.crowds, play.listeners):
            crowd.tell("drop")

    play.act("every connection dropped", strike)


def clients_stalled(play: Play) -> None:
    """Some clients stop reading while much happens, and go on later."""
    play.listeners.tell("stall", count=3)
    play.act("clients that stop reading", lambda: time.sleep(play.size.lease / 2), lambda: play.listeners.tell("go_on"))


def _engine(play: Play, part: Part, strike: Callable[[], None], how: str, *, serves: bool = True) -> None:
    before = part.pid
    play.act(f"{how} {part.name}", strike, part.start, serves=serves)
    assert part.pid != before, f"{part.name} was not started again"


def _recoveries(log: str) -> int:
    return log.count("automatic recovery in progress")


ALL: tuple[Act, ...] = (
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
SHORT: tuple[Act, ...] = (web_killed, redis_killed, postgres_killed, connections_dropped)


def perform_all(acts: Sequence[Act]) -> Act:
    def perform(play: Play) -> None:
        for act in acts:
            act(play)

    return perform
