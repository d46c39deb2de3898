"""Backup and restore, with the commands of docs/operations.md."""

import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from molecule.embedded import POSTGRES, database_urls, running_postgres
from tests.e2e.stack import ROOT, manage

COMMANDS = [line.strip() for line in (ROOT / "docs/operations.md").read_text().splitlines()]
CREATE = """
from registry.organisation.workspaces import NewWorkspace, create
from registry.organisation import removal
for name in NAMES:
    last = create(NewWorkspace(name=name, model="m"), actor="test")
removal.remove(last.id, actor="test", confirm=True)
"""
POSITIONS = "SELECT array_agg(seq ORDER BY seq) FROM structure_events"


def documented(program: str, environment: dict[str, str], folder: Path) -> None:
    """Run the one line of the document that begins so."""
    [command] = {line for line in COMMANDS if line.startswith(f"{program} --")}
    subprocess.run(["/bin/sh", "-ec", command], env=environment, cwd=folder, check=True)


def value(url: str, query: str) -> Any:
    with psycopg.connect(url) as server:
        row = server.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_a_dump_restored_on_another_server_goes_on() -> None:
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-backup-"))) for _ in range(2)]
        for folder in folders:
            folder.chmod(0o711)
        path = f"{POSTGRES}{os.pathsep}{os.environ['PATH']}"
        first, second = (
            {**os.environ, **database_urls(stack.enter_context(running_postgres(folder))), "PATH": path}
            for folder in folders
        )
        manage(first, "migrate", "-v0")
        manage(first, "shell", "-v0", "-c", CREATE.replace("NAMES", '("one", "two")'))
        before = value(first["DATABASE_URL"], POSITIONS)
        documented("pg_dump", first, folders[0])
        manage(first, "shell", "-v0", "-c", CREATE.replace("NAMES", '("lost",)'))
        documented("pg_restore", second, folders[0])
        manage(second, "migrate", "-v0")
        assert "0 rows different" in manage(second, "rebuild", "--check")
        assert value(second["DATABASE_URL"], POSITIONS) == before
        manage(second, "shell", "-v0", "-c", CREATE.replace("NAMES", '("after",)'))
        assert value(second["DATABASE_URL"], POSITIONS)[len(before)] == before[-1] + 1
        assert "W003" not in checked(second)
        with pytest.raises(psycopg.errors.RestrictViolation):
            value(second["DATABASE_OWNER_URL"], "DELETE FROM structure_events")
        incomplete = "INSERT INTO structure_events (event_type) VALUES ('WORKSPACE_MOVED')"
        with pytest.raises(psycopg.errors.CheckViolation):
            value(second["DATABASE_OWNER_URL"], incomplete)
        triggers = (
            "SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal"
        )
        assert value(second["DATABASE_URL"], triggers) == value(first["DATABASE_URL"], triggers)


def checked(environment: dict[str, str]) -> str:
    command = [sys.executable, "manage.py", "check", "--database", "default"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return re.sub(r"\s+", " ", done.stdout + done.stderr)
