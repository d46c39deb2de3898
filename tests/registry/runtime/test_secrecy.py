"""Secrets and tokens reach the agent's environment and file, and nothing else."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection

from registry.config.contents import Content
from registry.models import Deployment
from registry.runtime import folders, process_table
from registry.runtime.backend import Liveness
from registry.runtime.process import ProcessBackend
from registry.secrets import store
from tests.conftest import ACTOR
from tests.registry.runtime.conftest import row, settle
from tests.registry.runtime.contract import arguments, until

pytestmark = pytest.mark.django_db
CANARY = "canary-9f27ab-of-a-secret"
# It shows the beginning of its log that it has them, prints them, and ends.
AGENT = Content(b'cat .auth_token; echo; echo "$API_KEY"; sleep 0.3; echo "$API_KEY" >&2; exit 1')


def test_what_an_agent_prints_is_in_its_own_log_only(
    settings: object, deploy: Callable[..., UUID], caplog: pytest.LogCaptureFixture
) -> None:
    settings.RUNTIME_BACKEND = "process"  # type: ignore[attr-defined]
    files = {"config.yaml": Content(b"entrypoint: sh agent.sh"), "agent.sh": AGENT}
    one = deploy(files=files)
    store.set_for_workspace(one, "API_KEY", CANARY, actor=ACTOR)
    with tempfile.TemporaryDirectory(prefix="molecule-secrecy-") as state:
        Path(state).chmod(0o711)
        backend = ProcessBackend(Path(state) / "workspaces")
        settle(backend)
        seen = list(arguments())
        until(lambda: backend.probe(one).liveness == Liveness.DEAD)
        token, key, *_ = backend.logs(one, lines=10).splitlines()
        assert (token.startswith("mol_ws_"), key) == (True, CANARY)
        Deployment.objects.update(attempts=4)
        settle(backend)
        assert (row(one).reason, process_table.identify(0)) == ("crash_loop", None)
        readable = [folders.of(backend.root, one).note.exists()]
        backend.remove(one)
    shown = [caplog.text, *seen, *everything_stored()]
    assert [text for text in shown if CANARY in text or token in text] == []
    assert readable == [False]


def everything_stored() -> list[str]:
    """Each row of each table, as JSON."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        rows: list[str] = []
        for table in tables:
            cursor.execute(f'SELECT to_jsonb(t) FROM "{table}" t')
            rows += [json.dumps(found) for (found,) in cursor.fetchall()]
    return rows
