"""The experiment: agents send heartbeats, clients listen, an operator works, and faults are injected one by one."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client_process import ClientProcess
from tests.chaos.system import System
from tests.e2e.stack import until

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Size:
    agents: int
    listeners: int
    processes: int
    """With agents; the listeners have one more."""
    interval: float
    """Seconds between the heartbeats of an agent."""
    lease: float
    sockets: float
    """The share of agents that send heartbeats over `/ws`."""
    dying: int
    """How many agents die during each fault."""


@dataclass
class Experiment:
    system: System
    size: Size
    seed: int
    say: Callable[[str], None]
    client_processes: list[ClientProcess]
    listeners: ClientProcess
    dead: set[str] = field(default_factory=set)
    outages: list[tuple[float, float]] = field(default_factory=list)
    """From when to when no web process was running."""

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed} experiment")

    def inject(
        self,
        what: str,
        inject: Callable[[], object],
        repair: Callable[[], object] | None = None,
        *,
        serves: bool = True,
    ) -> None:
        """Inject a fault under load. Some agents die; the others go on, and are acknowledged if the platform `serves`.

        Then heartbeats are held, so that no later one hides a lost one, until the system is repaired and every
        acknowledged heartbeat was looked up. Returns when all agents are acknowledged again.
        """
        began = time.monotonic()
        inject()
        self.die()
        self.wait_for("acknowledged" if serves else "attempts", f"every agent to go on during: {what}")
        for client_process in self.client_processes:
            client_process.call("hold")
        if repair is not None:
            repair()
        missing = self.lost_beats()
        assert not missing, self.explained(f"{what}: acknowledged heartbeats that are not in PostgreSQL", missing)
        for client_process in self.client_processes:
            client_process.call("release")
        self.wait_for("acknowledged", f"every agent to be acknowledged again after: {what}")
        self.say(f"{what}: no acknowledged heartbeat is lost; all agents go on ({time.monotonic() - began:.1f} s)")

    def die(self) -> None:
        living = sorted(i for i, one in self.reports().items() if one["state"] == "alive")
        victims = self.chance.sample(living, min(self.size.dying, len(living) // 2))
        for client_process in self.client_processes:
            client_process.call("die", ids=victims)
        self.dead |= set(victims)

    def adopt(self, workspace_id: str, token: str) -> None:
        """Start an agent for a new workspace."""
        client_process = self.client_processes[int(workspace_id[-2:], 16) % len(self.client_processes)]
        client_process.call("join", agents=[{"id": workspace_id, "token": token, "socket": False}])

    def reports(self) -> dict[str, Any]:
        return {
            i: report for client_process in self.client_processes for i, report in client_process.call("report").items()
        }

    def lost_beats(self) -> list[str]:
        """Agents whose row has a smaller number than their last acknowledged heartbeat."""
        told = self.reports()
        rows = self.system.query("SELECT id::text, uptime_seconds, last_heartbeat_at FROM workspaces")
        found = {i: (uptime, at) for i, uptime, at in rows}
        return [
            f"{i}: the row has {found.get(i)}, the agent {report}"
            for i, report in told.items()
            if (number := report["acknowledged"])
            if i not in found or (found[i][0] < number and found[i][0] not in report["unanswered"])
        ]

    def wait_for(self, number: str, what: str) -> None:
        """Until this number has grown for every live agent.

        While the platform is down, an agent that has not registered yet makes no attempt to send a heartbeat.
        """
        reports = self.reports()
        before = {i: one[number] for i, one in reports.items() if number == "acknowledged" or one["attempts"]}

        def waiting() -> list[str]:
            return [
                f"{i}: {report}"
                for i, report in self.reports().items()
                if report["state"] == "alive" and i in before and report[number] == before[i]
            ]

        try:
            until(lambda: not waiting(), what, seconds=PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(self.explained(what, waiting())) from None

    def explained(self, what: str, lines: list[str]) -> str:
        shown = "\n".join(lines[:40])
        more = f"\n… and {len(lines) - 40} more" if len(lines) > 40 else ""
        return f"{what} (seed {self.seed}):\n{shown}{more}\n{self.system.diagnosis()}"
