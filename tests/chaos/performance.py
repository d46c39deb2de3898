"""One performance: a stage, agents, clients and an operator on it, the acts, and what is left to count."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.agents import Seeded, read
from tests.chaos.checks import check
from tests.chaos.churn import Churn
from tests.chaos.crowd import Crowd
from tests.chaos.play import PATIENCE_SECONDS, Play, Size
from tests.chaos.stage import Stage, stage
from tests.e2e.stack import manage, until


def perform(size: Size, seed: int, state: Path, acts: Callable[[Play], None], say: Callable[[str], None]) -> None:
    """Raises AssertionError, with all there is to know, for whatever was lost, doubled or wrong."""
    say(f"seed {seed}: {size.agents} agents, {size.listeners} listeners, leases of {size.lease:g} s")
    with ExitStack() as stack:
        settings = {"LEASE_SECONDS": str(size.lease), "PROVISIONING_SECONDS": str(2 * size.lease)}
        made = stack.enter_context(stage(state, **settings))
        everybody = _seed(made, size.agents)
        arguments: dict[str, Any] = {"urls": made.urls, "seed": seed}
        listening = {"token": made.operator_token, "count": size.listeners}
        listeners = stack.enter_context(Crowd("tests.chaos.listeners", **arguments, **listening))
        crowds = [
            stack.enter_context(Crowd("tests.chaos.agents", **arguments, interval=size.interval))
            for _ in range(size.processes)
        ]
        play = Play(made, size, seed, say, crowds, listeners)
        _join(play, everybody)
        ids = [agent.id for agent in everybody]
        with Churn(made.urls, made.operator_token, ids, seed, play.adopt) as churn:
            acts(play)
            churn.stop()
            check(play, churn)


def _seed(made: Stage, count: int) -> list[Seeded]:
    file = made.state / "agents"
    script = f"from pathlib import Path; from tests.bench import world; world.seed({count}, Path({str(file)!r}))"
    manage(made.environment, "shell", "-v0", "-c", script)
    return read(file)


def _join(play: Play, everybody: list[Seeded]) -> None:
    over_sockets = round(play.size.sockets * len(everybody))
    for number, crowd in enumerate(play.crowds):
        mine = everybody[number :: len(play.crowds)]
        agents = [
            {"id": one.id, "token": one.token, "socket": int(one.id[-12:]) % len(everybody) < over_sockets}
            for one in mine
        ]
        crowd.tell("join", agents=agents)
    until(
        lambda: all(one["acknowledged"] for one in play.reports().values()),
        "everybody's first beat",
        seconds=PATIENCE_SECONDS,
    )
    play.say("everybody beats")
