"""The cost of listing 10,000 workspaces with cards of 1 KB: whole, compressed, unchanged, and in pages.

    .venv/bin/python -m molecule.embedded .venv/bin/python -m tests.bench.reads [WORKSPACES]

Requests go through the whole Django stack in this process. CPU is that of this process, without PostgreSQL.
"""

import json
import os
import sys
import time
from typing import Any

import django

os.environ |= {"DJANGO_SETTINGS_MODULE": "molecule.settings", "SECRET_KEY": "only for a benchmark", "DEBUG": "true"}
os.environ |= {"ALLOWED_HOSTS": "testserver", "MOLECULE_READ_ENV_FILE": "false", "LOG_LEVEL": "WARNING"}
django.setup()

from django.conf import settings  # noqa: E402  # these need the apps
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from registry.identity.tokens import issue_operator_token  # noqa: E402

WORKSPACES = 10_000
ROUNDS = 5
CARD = {
    "name": "Agent",
    "description": "d" * 400,
    "skills": [{"id": f"skill-{n}", "tags": ["a"] * 9} for n in range(6)],
}


def prepare(size: int) -> str:
    """Fill the database; returns an operator token."""
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO workspaces (name, role, status, agent_card, url, last_heartbeat_at)"
            " SELECT 'Workspace ' || n, 'role', 'online', %s::jsonb || jsonb_build_object('salt', md5(n::text)),"
            " 'http://10.0.0.1:' || n, now() FROM generate_series(1, %s) n",
            [json.dumps(CARD), size],
        )
        cursor.execute("INSERT INTO canvas_layouts (workspace_id, x, y) SELECT id, random(), random() FROM workspaces")
        cursor.execute("ANALYZE")
    return issue_operator_token(User.objects.create_superuser("bench", "", "bench"))


def measure(client: Client, path: str, how: str, headers: dict[str, str] | None = None) -> Any:
    """Print the best of ROUNDS requests; returns the last answer."""
    seconds, cpu = [], []
    for _ in range(ROUNDS):
        began, burnt = time.perf_counter(), time.process_time()
        answer = client.get(path, headers=headers)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - burnt)
    size, best = len(answer.content), f"{min(seconds):.3f} s, CPU {min(cpu):.3f} s"
    print(f"{path:<22} {how:<9} {answer.status_code} {size:>11,} B  {best}", flush=True)
    return answer


def main(size: int) -> None:
    token = prepare(size)
    settings.DEBUG = False  # it would keep every query
    client = Client(headers={"Authorization": f"Bearer {token}"})
    for path in ("/workspaces", "/canvas/snapshot"):
        measure(client, path, "")
        whole = measure(client, path, "gzip", {"Accept-Encoding": "gzip"})
        measure(client, path, "unchanged", {"If-None-Match": whole["ETag"]})
    measure(client, "/workspaces?limit=500", "")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else WORKSPACES)
