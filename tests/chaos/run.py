"""One run: start a system with agents, clients and an operator, inject the faults, check the result."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.agents import Seeded, read
from tests.chaos.checks import check
from tests.chaos.churn import Churn
from tests.chaos.client_process import ClientProcess
from tests.chaos.experiment import PATIENCE_SECONDS, Experiment, Size
from tests.chaos.system import System, system
from tests.e2e.stack import manage, until


def run(size: Size, seed: int, state: Path, faults: Callable[[Experiment], None], say: Callable[[str], None]) -> None:
    """Raises AssertionError, with the state of the system, for anything lost, duplicated or wrong."""
    say(f"seed {seed}: {size.agents} agents, {size.listeners} listeners, leases of {size.lease:g} s")
    with ExitStack() as stack:
        settings = {"LEASE_SECONDS": str(size.lease), "RATE_LIMIT_CHANGES": "10"}
        made = stack.enter_context(system(state, **settings))
        seeded = _seed(made, size.agents)
        arguments: dict[str, Any] = {"urls": made.urls, "seed": seed}
        listening = {"token": made.operator_token, "count": size.listeners}
        listeners = stack.enter_context(ClientProcess("tests.chaos.listeners", **arguments, **listening))
        client_processes = [
            stack.enter_context(ClientProcess("tests.chaos.agents", **arguments, interval=size.interval))
            for _ in range(size.processes)
        ]
        experiment = Experiment(made, size, seed, say, client_processes, listeners)
        _join(experiment, seeded)
        ids = [agent.id for agent in seeded]
        with Churn(made.urls, made.operator_token, ids, seed, experiment.adopt) as churn:
            faults(experiment)
            churn.stop()
            check(experiment, churn)


def _seed(made: System, count: int) -> list[Seeded]:
    file = made.state / "agents"
    script = f"from pathlib import Path; from tests.bench import world; world.seed({count}, Path({str(file)!r}))"
    manage(made.environment, "shell", "-v0", "-c", script)
    return read(file)


def _join(experiment: Experiment, seeded: list[Seeded]) -> None:
    over_sockets = round(experiment.size.sockets * len(seeded))
    for number, client_process in enumerate(experiment.client_processes):
        mine = seeded[number :: len(experiment.client_processes)]
        agents = [
            {"id": one.id, "token": one.token, "socket": int(one.id[-12:]) % len(seeded) < over_sockets} for one in mine
        ]
        client_process.call("join", agents=agents)
    until(
        lambda: all(one["acknowledged"] for one in experiment.reports().values()),
        "every agent's first heartbeat",
        seconds=PATIENCE_SECONDS,
    )
    experiment.say("every agent sends heartbeats")
