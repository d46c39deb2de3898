"""Environment variables: all are documented, and the database timeouts have the intended values."""

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


def test_the_documented_variables_are_the_ones_that_the_settings_read() -> None:
    read = set(re.findall(r'(?:env\.\w+|required)\(\s*"([A-Z_]+)"', (ROOT / "molecule/settings.py").read_text()))
    rows = [line for line in (ROOT / "docs/configuration.md").read_text().splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row.split("|")[1])}
    assert read == documented


@pytest.mark.django_db
def test_an_idle_transaction_is_ended_after_ten_seconds() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("10s",)


@pytest.mark.django_db
def test_database_connections_have_timeouts_for_a_network_that_drops_packets() -> None:
    """Without them, the only thread that writes batches could wait many minutes for a host lost in a failover."""
    with connection.cursor() as cursor, leadership._connect() as leading:
        found = [timeouts(cursor.connection), timeouts(leading)]
    assert found == [
        {"connect_timeout": "5", "tcp_user_timeout": "10000", "keepalives_idle": "5", "keepalives_interval": "1"},
        {"connect_timeout": "3", "tcp_user_timeout": "3000", "keepalives_idle": "1", "keepalives_interval": "1"},
    ]


def timeouts(opened: "psycopg.Connection[Any]") -> dict[str, str]:
    names = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval")
    return {name: value for name, value in opened.info.get_parameters().items() if name in names}


def test_connection_options_in_the_database_url_override_the_defaults() -> None:
    environment = {"DATABASE_URL": "postgresql://a@b/c?connect_timeout=77&sslmode=require"}
    [databases] = settings_with(environment, "DATABASES")
    options = databases["default"]["OPTIONS"]
    assert (options["connect_timeout"], options["tcp_user_timeout"], options["sslmode"]) == (77, 10_000, "require")


@pytest.mark.parametrize(
    ("environment", "scheme", "addresses"),
    [
        ({}, False, 0),
        ({"PROXY_SCHEME": "true"}, True, 0),
        ({"PROXY_ADDRESSES": "2"}, False, 2),
        ({"SECURE_PROXY": "true"}, True, 1),
        ({"SECURE_PROXY": "true", "PROXY_ADDRESSES": "0"}, True, 0),
    ],
    ids=str,
)
def test_secure_proxy_stands_for_the_settings_that_replace_it(
    environment: dict[str, str], scheme: bool, addresses: int
) -> None:
    settings = settings_with(environment, "PROXY_SCHEME", "PROXY_ADDRESSES", "SECURE_PROXY_SSL_HEADER")
    assert settings == (scheme, addresses, ("HTTP_X_FORWARDED_PROTO", "https") if scheme else None)


@pytest.mark.parametrize("written", ["/molecule", "/molecule/", "molecule"])
def test_a_sub_path_may_be_written_with_and_without_slashes(written: str) -> None:
    names = ("FORCE_SCRIPT_NAME", "STATIC_URL", "SESSION_COOKIE_PATH")
    assert settings_with({"FORCE_SCRIPT_NAME": written}, *names) == ("/molecule", "/molecule/static/", "/molecule")
    assert settings_with({"FORCE_SCRIPT_NAME": "/"}, *names) == settings_with({}, *names) == ("", "/static/", "/")


def settings_with(environment: dict[str, str], *names: str) -> tuple[Any, ...]:
    """The values of these settings in a new process with these environment variables."""
    code = f"from molecule import settings; print(tuple(getattr(settings, name) for name in {names}))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    values: tuple[Any, ...] = ast.literal_eval(result.stdout)
    return values
