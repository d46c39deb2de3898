"""The embedded engines: how they start, how they are configured, and how they recover."""

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


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()
        return row[0] if row else None


def test_postgres_is_what_the_product_needs(state: Path) -> None:
    with running_postgres(state) as url:
        assert ask(url, "SHOW wal_level") == "logical"
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SHOW listen_addresses") == ""
        assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_redis_listens_on_its_socket_alone_and_keeps_nothing(state: Path) -> None:
    with running_redis(state) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("save") == {"save": ""}


def test_data_outlives_the_server(state: Path) -> None:
    with running_postgres(state) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with running_postgres(state) as url:
        assert ask(url, "SELECT answer FROM kept") == 42


def test_a_first_start_that_was_cut_short_is_done_again(state: Path) -> None:
    unfinished = state / "postgres.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18")
    with running_postgres(state) as url:
        assert ask(url, "SELECT 1") == 1
    assert not unfinished.exists()


def test_an_engine_that_is_still_stopping_is_waited_for(state: Path) -> None:
    owner = "import os, sys, pathlib; from molecule.embedded import running_redis\n"
    owner += "with running_redis(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", owner, str(state)], cwd=ROOT)
    with running_redis(state) as url, redis.Redis.from_url(url) as client:
        time.sleep(0.5)
        assert client.ping()
        client.connection_pool.disconnect()
        assert client.ping()  # a new connection: the socket is still there


def test_a_pid_file_that_names_a_stranger_is_no_obstacle(state: Path) -> None:
    with running_postgres(state):
        lines = (state / "postgres" / "postmaster.pid").read_text().splitlines()
    unrelated = subprocess.Popen(["sleep", "60"], **embedded._identity(embedded._engine_user()))
    try:
        (state / "postgres" / "postmaster.pid").write_text("\n".join([str(unrelated.pid), *lines[1:]]))
        with running_postgres(state) as url:
            assert ask(url, "SELECT 1") == 1
    finally:
        unrelated.kill()
        unrelated.wait()


def test_a_deep_folder_gets_short_sockets(state: Path) -> None:
    deep = state.joinpath(*["a-rather-long-name"] * 6)
    deep.mkdir(parents=True)
    folder = embedded.socket_dir(deep)
    try:
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()


def test_a_link_somebody_laid_for_us_is_not_followed(state: Path, tmp_path: Path) -> None:
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


def test_what_the_environment_names_is_not_started(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "database-url"
    secret.write_text("postgresql://given\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("REDIS_URL", "redis://given")
    with engines(state) as urls:
        assert urls == {"DATABASE_URL": "postgresql://given", "REDIS_URL": "redis://given"}
    assert list(state.iterdir()) == []


def test_variables_meant_for_another_postgres_do_not_reach_ours(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    with running_postgres(state) as url:
        assert ask(url, "SELECT current_database()") == "molecule"


def test_a_server_that_does_not_start_says_why(state: Path) -> None:
    with running_postgres(state):
        pass
    (state / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EngineFailed, match="no_such_setting"), running_postgres(state):
        pass


def test_a_command_runs_on_engines_that_vanish_with_it() -> None:
    show = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL']); raise SystemExit(7)"
    command = [sys.executable, "-m", "molecule.embedded", sys.executable, "-c", show]
    given = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 7
    socket = Path(done.stdout.split("unix://")[1].strip())
    assert not socket.parent.parent.exists()
