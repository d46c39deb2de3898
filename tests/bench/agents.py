"""The agents of the benchmark: ids, their hierarchy, and their tokens."""

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

ROOTS = 10
TEAM = 10


@dataclass(frozen=True)
class Seeded:
    """An agent of the organisation; `parent` is the index of its parent in the list, None for roots."""

    id: str
    token: str
    parent: int | None

    def beat(self, **fields: object) -> dict[str, object]:
        """The body of a heartbeat; the same every time, as for most heartbeats."""
        return {
            "workspace_id": self.id,
            "error_rate": 0.01,
            "sample_error": "",
            "active_tasks": 1,
            "uptime_seconds": 3600,
            "current_task": "Write the report",
            **fields,
        }


def parent_of(number: int) -> int | None:
    """ROOTS roots; every workspace has a team of TEAM, as far as the count reaches."""
    return None if number < ROOTS else (number - ROOTS) // TEAM


def identity(number: int) -> UUID:
    return UUID(f"4d4f4c00-0000-4000-8000-{number:012d}")


def write(path: Path, agents: list[Seeded]) -> None:
    path.write_text("".join(json.dumps(vars(agent)) + "\n" for agent in agents))


def read(path: Path) -> list[Seeded]:
    return [Seeded(**json.loads(line)) for line in path.read_text().splitlines()]
