"""A large organisation: its log, the rows that follow from it, and a token for every agent.

Runs inside Django (`manage.py shell`) and writes in bulk. The rows are the fold of the log, so that `rebuild --check`
finds no difference.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection

from activity.models import StructureEvent
from registry.identity import tokens
from registry.models import TokenKind, Workspace, WorkspaceToken
from registry.structure import projection
from tests.bench import agents
from tests.bench.agents import Seeded, identity, parent_of

LEASE = timedelta(days=1)
AGE = timedelta(days=7)
BATCH = 2000


def seed(count: int, into: Path) -> None:
    """All workspaces are AGE old and online, with a lease that outlasts the benchmark. `into` gets each agent."""
    now = datetime.now(UTC)
    with connection.cursor() as cursor:
        with cursor.copy(
            "COPY structure_events (event_type, workspace_id, payload, actor, created_at) FROM STDIN"
        ) as copy:
            for kind, who, payload in history(count):
                copy.write_row((kind, who, json.dumps(payload), "bench", now - AGE))
        state = projection.fold(StructureEvent.objects.order_by("seq").iterator(BATCH))
        live: Any = {"last_heartbeat_at": now, "lease_expires_at": now + LEASE}
        rows = (Workspace(id=i, **row, **live) for i, row in state.workspaces.items())
        Workspace.objects.bulk_create(rows, batch_size=BATCH)
        texts = _issue(count, now)
        cursor.execute("ANALYZE")
    agents.write(into, [Seeded(str(identity(n)), text, parent_of(n)) for n, text in enumerate(texts)])


def history(count: int) -> Iterator[tuple[str, UUID, dict[str, Any]]]:
    for number in range(count):
        yield "WORKSPACE_PROVISIONING", identity(number), _created(number)
        url = f"http://127.0.0.1:9/{number}"
        yield "WORKSPACE_ONLINE", identity(number), {"from": "provisioning", "url": url, "agent_card": card(number)}


def card(number: int) -> dict[str, Any]:
    """About a kilobyte, a typical size."""
    description = "Reads what it is given, finds what matters and says so in a few words, with its sources."
    return {
        "name": f"Agent {number}",
        "description": "An agent of the organisation that the benchmark talks to.",
        "version": "1.4.2",
        "capabilities": {"streaming": True, "pushNotifications": False},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [
            {"id": f"skill-{n}", "name": f"Skill {n}", "description": description, "tags": ["a", "b"]} for n in range(5)
        ],
    }


def _created(number: int) -> dict[str, Any]:
    parent = parent_of(number)
    return {
        "name": f"Agent {number}",
        "role": "Analyst",
        "tier": 1 + number % 4,
        "runtime": "langgraph",
        "parent_id": None if parent is None else str(identity(parent)),
        "source_bundle_id": None,
        "external": False,
    }


def _issue(count: int, now: datetime) -> list[str]:
    """A token for each workspace, marked as just used, so that no heartbeat has to record a first use."""
    minted = [tokens._mint("mol_ws") for _ in range(count)]
    live: Any = {"kind": TokenKind.AGENT, "last_used_at": now}
    rows = (
        WorkspaceToken(workspace_id=identity(number), prefix=prefix, hash=tokens._hash(text), **live)
        for number, (prefix, text) in enumerate(minted)
    )
    WorkspaceToken.objects.bulk_create(rows, batch_size=BATCH)
    return [text for _prefix, text in minted]
