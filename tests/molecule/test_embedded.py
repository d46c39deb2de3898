"""Embedded PostgreSQL and Redis: start, configuration and recovery."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from molecule import embedded
from molecule.embedded import EngineFailed, engines, running_postgres, running_redis
from tests.e2e.stack import ROOT


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molecule-embedded-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def query_value(url: str, sql: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(sql).fetchone()
        return row[0] if row else None


def test_postgres_uses_logical_wal_utf8_no_tcp_and_an_unprivileged_role(state: Path) -> None:
    with running_postgres(state) as url:
        assert query_value(url, "SHOW wal_level") == "logical"
        assert query_value(url, "SHOW server_encoding") == "UTF8"
        assert query_value(url, "SHOW listen_addresses") == ""
        assert query_value(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_redis_listens_only_on_its_socket_and_saves_nothing_to_disk(state: Path) -> None:
    with running_redis(state) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}


def test_data_is_kept_when_the_server_restarts(state: Path) -> None:
    with running_postgres(state) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with running_postgres(state) as url:
        assert query_value(url, "SELECT answer FROM kept") == 42


def test_an_interrupted_first_start_is_repeated(state: Path) -> None:
    unfinished = state / "postgres.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18")
    with running_postgres(state) as url:
        assert query_value(url, "SELECT 1") == 1
    assert not unfinished.exists()


def test_a_start_waits_for_an_engine_that_is_still_stopping(state: Path) -> None:
    owner = "import os, sys, pathlib; from molecule.embedded import running_redis\n"
    owner += "with running_redis(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", owner, str(state)], cwd=ROOT)
    with running_redis(state) as url, redis.Redis.from_url(url) as client:
        time.sleep(0.5)
        assert client.ping()
        client.connection_pool.disconnect()
        assert client.ping()  # a new connection: the socket is still there


def test_a_pid_file_with_the_pid_of_an_unrelated_process_is_ignored(state: Path) -> None:
    with running_postgres(state):
        lines = (state / "postgres" / "postmaster.pid").read_text().splitlines()
    unrelated = subprocess.Popen(["sleep", "60"], **embedded._identity(embedded._engine_user()))
    try:
        (state / "postgres" / "postmaster.pid").write_text("\n".join([str(unrelated.pid), *lines[1:]]))
        with running_postgres(state) as url:
            assert query_value(url, "SELECT 1") == 1
    finally:
        unrelated.kill()
        unrelated.wait()


def test_a_deeply_nested_state_directory_puts_its_sockets_in_tmp(state: Path) -> None:
    deep = state.joinpath(*["a-rather-long-name"] * 6)
    deep.mkdir(parents=True)
    folder = embedded.socket_dir(deep)
    try:
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()


def test_a_symlink_in_place_of_the_socket_directory_is_refused(state: Path, tmp_path: Path) -> None:
    deep = state / ("a" * 90)
    folder = embedded.socket_dir(deep)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    try:
        owner = tmp_path.stat().st_uid
        with pytest.raises(EngineFailed, match="belongs to another user"):
            embedded.socket_dir(deep)
        assert tmp_path.stat().st_uid == owner
    finally:
        folder.unlink()


def test_engines_named_in_the_environment_are_not_started(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "database-url"
    secret.write_text("postgresql://given\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("REDIS_URL", "redis://given")
    with engines(state) as urls:
        assert urls == {"DATABASE_URL": "postgresql://given", "REDIS_URL": "redis://given"}
    assert list(state.iterdir()) == []


def test_libpq_environment_variables_do_not_affect_embedded_postgres(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    with running_postgres(state) as url:
        assert query_value(url, "SELECT current_database()") == "molecule"


def test_the_error_of_a_failed_start_contains_the_reason(state: Path) -> None:
    with running_postgres(state):
        pass
    (state / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EngineFailed, match="no_such_setting"), running_postgres(state):
        pass


def test_a_wrapped_command_gets_temporary_engines_and_its_exit_status_is_returned() -> None:
    script = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL']); raise SystemExit(7)"
    command = [sys.executable, "-m", "molecule.embedded", sys.executable, "-c", script]
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 7
    socket = Path(result.stdout.split("unix://")[1].strip())
    assert not socket.parent.parent.exists()


def test_one_role_owns_the_database_and_another_serves(state: Path) -> None:
    with running_postgres(state) as url:
        urls = embedded.database_urls(url)
        assert query_value(urls["DATABASE_OWNER_URL"], "SELECT current_user") == embedded.ROLE
        assert query_value(urls["DATABASE_URL"], "SELECT current_user") == embedded.SERVING_ROLE
        attributes = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles"
        assert query_value(urls["DATABASE_URL"], f"{attributes} WHERE rolname = current_user") is False
