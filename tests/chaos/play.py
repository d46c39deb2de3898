"""The play: agents beat, clients listen, an operator works, and one process after the other is struck down."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.crowd import Crowd
from tests.chaos.stage import Stage
from tests.e2e.stack import until

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Size:
    agents: int
    listeners: int
    processes: int
    """Of agents; the listeners have one of their own."""
    interval: float
    """Seconds between the beats of an agent."""
    lease: float
    sockets: float
    """Which part of the agents beats over `/ws`."""
    dying: int
    """How many agents die in each act."""


@dataclass
class Play:
    stage: Stage
    size: Size
    seed: int
    say: Callable[[str], None]
    crowds: list[Crowd]
    listeners: Crowd
    dead: set[str] = field(default_factory=set)
    outages: list[tuple[float, float]] = field(default_factory=list)
    """From when to when no web process served."""

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed} play")

    # --- what happens ----------------------------------------------------------------------------------

    def act(
        self, what: str, strike: Callable[[], object], heal: Callable[[], object] | None = None, *, serves: bool = True
    ) -> None:
        """Agents beat; `strike`; some die, the others try to go on, and can when the platform still `serves`.

        Then all beats wait, so that no later one hides a lost one, until the platform is whole again and every
        acknowledged beat was looked for. Ends when everybody beats again.
        """
        began = time.monotonic()
        strike()
        self.die()
        self.wait_for("acknowledged" if serves else "attempts", f"everybody to beat in spite of it: {what}")
        for crowd in self.crowds:
            crowd.tell("hold")
        if heal is not None:
            heal()
        missing = self.lost_beats()
        assert not missing, self.explained(f"{what}: acknowledged beats that are not in PostgreSQL", missing)
        for crowd in self.crowds:
            crowd.tell("release")
        self.wait_for("acknowledged", f"everybody to beat again: {what}")
        self.say(f"{what}: all acknowledged beats are there; everybody beats again ({time.monotonic() - began:.1f} s)")

    def die(self) -> None:
        living = sorted(i for i, one in self.reports().items() if one["state"] == "alive")
        victims = self.chance.sample(living, min(self.size.dying, len(living) // 2))
        for crowd in self.crowds:
            crowd.tell("die", ids=victims)
        self.dead |= set(victims)

    def adopt(self, workspace_id: str, token: str) -> None:
        """An agent for a new workspace."""
        crowd = self.crowds[int(workspace_id[-2:], 16) % len(self.crowds)]
        crowd.tell("join", agents=[{"id": workspace_id, "token": token, "socket": False}])

    # --- what is asked ---------------------------------------------------------------------------------

    def reports(self) -> dict[str, Any]:
        return {i: report for crowd in self.crowds for i, report in crowd.tell("report").items()}

    def lost_beats(self) -> list[str]:
        """Agents whose row has a smaller number than the last beat that was acknowledged to them."""
        told = self.reports()
        rows = self.stage.query("SELECT id::text, uptime_seconds, last_heartbeat_at FROM workspaces")
        found = {i: (uptime, at) for i, uptime, at in rows}
        return [
            f"{i}: the row has {found.get(i)}, the agent {report}"
            for i, report in told.items()
            if (number := report["acknowledged"])
            if i not in found or (found[i][0] < number and found[i][0] not in report["unanswered"])
        ]

    def wait_for(self, number: str, what: str) -> None:
        """Until this number has grown for everybody who lives."""
        before = {i: report[number] for i, report in self.reports().items()}

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
        return f"{what} (seed {self.seed}):\n{shown}{more}\n{self.stage.last_words()}"
