"""How fast the log is replayed: 100,000 events in a realistic mix, then `manage.py rebuild --check`.

    .venv/bin/python -m molecule.embedded .venv/bin/python -m tests.bench.replay [EVENTS]

The log is written with one COPY, `rebuild --fix` makes the tables from it, and `rebuild --check` is timed.
"""

import io
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import django
from django.core.management import call_command
from django.db import connection

EVENTS = 100_000
TARGET_SECONDS = 30.0
# One new workspace per so many events; the other events change existing ones, with these weights.
EVENTS_PER_WORKSPACE = 40
WEIGHTS = {
    "WORKSPACE_ONLINE": 30,
    "WORKSPACE_OFFLINE": 15,
    "WORKSPACE_DEGRADED": 15,
    "WORKSPACE_UPDATED": 15,
    "AGENT_CARD_UPDATED": 10,
    "WORKSPACE_MOVED": 5,
    "AGENT_REPLACED": 5,
    "WORKSPACE_PAUSED": 5,
}
CARD = {"name": "Agent", "description": "d" * 200, "skills": [{"id": f"skill-{n}", "tags": ["a"]} for n in range(5)]}
Event = tuple[str, UUID, UUID | None, dict[str, Any]]


def history(size: int) -> Iterator[Event]:
    """Events that create workspaces, assign a model to each, and then change them at random."""
    chance = random.Random(size)
    agents: dict[UUID, UUID] = {}
    ids: list[UUID] = []
    for number in range(size):
        if number % EVENTS_PER_WORKSPACE == 0:
            who = UUID(int=chance.getrandbits(128), version=4)
            parent = str(chance.choice(ids)) if ids else None
            ids.append(who)
            yield "WORKSPACE_PROVISIONING", who, None, created(f"Workspace {number}", parent)
        elif number % EVENTS_PER_WORKSPACE == 1:
            agents[who] = UUID(int=chance.getrandbits(128), version=4)
            yield "AGENT_ASSIGNED", who, agents[who], {"agent_id": str(agents[who]), "model": "m"}
        else:
            (kind,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
            subject = chance.choice([i for i in ids[-200:] if i in agents])
            old = agents[subject]
            if kind == "AGENT_REPLACED":
                agents[subject] = UUID(int=chance.getrandbits(128), version=4)
            yield kind, subject, agents[subject], payload_of(kind, number, old, agents[subject])


def created(name: str, parent: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "role": "QA",
        "tier": 1,
        "runtime": "langgraph",
        "parent_id": parent,
        "source_bundle_id": None,
    }


def payload_of(kind: str, number: int, old: UUID, new: UUID) -> dict[str, Any]:
    payloads: dict[str, dict[str, Any]] = {
        "WORKSPACE_ONLINE": {"from": "offline", "url": f"http://agent:{number}", "agent_card": CARD | {"n": number}},
        "WORKSPACE_OFFLINE": {"from": "online", "reason": "lease expired", "last_heartbeat_at": None},
        "WORKSPACE_DEGRADED": {"from": "online", "error_rate": 0.7, "sample_error": "timeout"},
        "WORKSPACE_UPDATED": {"changes": {"name": ["Workspace", f"Renamed {number}"], "role": ["QA", None]}},
        "AGENT_CARD_UPDATED": {"agent_card": CARD | {"n": number}, "old_agent_card": CARD},
        "WORKSPACE_MOVED": {"old_parent_id": None, "new_parent_id": None},
        "AGENT_REPLACED": {"old_agent_id": str(old), "old_model": "m", "new_model": "n", "agent_id": str(new)},
        "WORKSPACE_PAUSED": {"from": "online", "name": "Workspace"},
    }
    return payloads[kind]


def write(size: int) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    columns = "event_type, workspace_id, agent_id, payload, actor, created_at"
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY structure_events ({columns}) FROM STDIN") as copy:
            for number, (kind, who, agent, payload) in enumerate(history(size)):
                copy.write_row((kind, who, agent, json.dumps(payload), "bench", began + timedelta(seconds=number)))
        cursor.execute("ANALYZE structure_events")


def main(size: int) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
    os.environ.setdefault("SECRET_KEY", "only for a benchmark")
    django.setup()
    call_command("migrate", verbosity=0)
    write(size)
    call_command("rebuild", "--fix", stdout=io.StringIO(), stderr=io.StringIO())
    began = time.perf_counter()
    call_command("rebuild", "--check")
    took = time.perf_counter() - began
    print(f"{size} events in {took:.1f} s: {size / took:.0f} events/s; at most {TARGET_SECONDS:g} s for {EVENTS}")
    return int(took > TARGET_SECONDS * size / EVENTS)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS))
