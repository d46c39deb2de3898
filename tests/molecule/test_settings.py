"""Every setting is an environment variable, and every environment variable is in the table."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from registry.supervision import leadership

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_and_the_settings_name_the_same_variables() -> None:
    read = set(re.findall(r'(?:env\.\w+|required)\(\s*"([A-Z_]+)"', (ROOT / "molecule/settings.py").read_text()))
    rows = [line for line in (ROOT / "docs/configuration.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row.split("|")[1])}
    assert read == documented


@pytest.mark.django_db
def test_a_process_that_hangs_in_a_transaction_loses_its_locks_after_ten_seconds() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("10s",)


@pytest.mark.django_db
def test_a_network_that_drops_packets_is_noticed() -> None:
    """After a failover a batch's only thread may wait for an answer from a host that is gone."""
    with connection.cursor() as cursor, leadership._connect() as leading:
        given = [timeouts(cursor.connection), timeouts(leading)]
    assert given == [
        {"connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "5", "keepalives_interval": "1"},
        {"connect_timeout": "3", "tcp_user_timeout": "3000", "keepalives_idle": "1", "keepalives_interval": "1"},
    ]


def timeouts(made: "psycopg.Connection[Any]") -> dict[str, str]:
    names = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval")
    return {name: value for name, value in made.info.get_parameters().items() if name in names}


def test_network_options_in_the_url_win() -> None:
    code = "from molecule import settings; print(settings.DATABASES['default']['OPTIONS'])"
    given = {"DATABASE_URL": "postgresql://a@b/c?connect_timeout=77&sslmode=require"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **given}, check=True, capture_output=True, text=True
    )
    options = ast.literal_eval(told.stdout)
    assert (options["connect_timeout"], options["tcp_user_timeout"], options["sslmode"]) == (77, 10_000, "require")
