"""Another PostgreSQL, set up as docs/change-stream.md says, receives every event in order."""

import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection

from activity.models import StructureEvent
from molecule import health
from molecule.embedded import running_postgres
from registry.models import Workspace
from registry.organisation import workspaces
from registry.organisation.workspaces import NewWorkspace
from tests.conftest import ACTOR
from tests.e2e.stack import ROOT, manage, until

Server = psycopg.Connection[Any]

DOCUMENT = (ROOT / "docs" / "change-stream.md").read_text()
SUBSCRIPTION = "molecule_copy"
WORKSPACES = "SELECT row_to_json(w)::text FROM (SELECT * FROM workspaces ORDER BY id) w"
CHECKS = """
import json
from molecule.health import CHECKS, result
print(json.dumps({name: result(name) for name in CHECKS}))
"""
THREE_WORKSPACES = """
from registry.organisation.workspaces import NewWorkspace, create
for number in range(3):
    create(NewWorkspace(name=f"Workspace {number}"), actor="test")
"""


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molecule-changes-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Where the follower keeps its data."""
    with tempfile.TemporaryDirectory(prefix="molecule-follower-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def platform(transactional_db: None) -> Iterator[Server]:
    """The tests' own server, seen by its administrator, with the role that follows; no slot outlives the test."""
    with as_administrator(os.environ["DATABASE_URL"], connection.settings_dict["NAME"]) as server:
        admit_follower(server)
        yield server
        server.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        active = "SELECT slot_name FROM pg_replication_slots WHERE active"
        until(lambda: not column(server, active), "slots to be free")
        server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        server.execute("DROP OWNED BY follower; DROP ROLE follower")


@contextmanager
def as_administrator(url: str, database: str = "molecule") -> Iterator[Server]:
    address = f"postgresql://postgres@/{database}?{urlsplit(url).query}"
    with psycopg.connect(address, autocommit=True) as server:
        yield server


@contextmanager
def running_follower(folder: Path) -> Iterator[Server]:
    with running_postgres(folder) as url, as_administrator(url) as follower:
        yield follower


def documented(beginning: str) -> str:
    """The SQL block of the document that begins so."""
    (block,) = re.findall(rf"```sql[ \w]*\n({re.escape(beginning)}.*?)```", DOCUMENT, re.DOTALL)
    assert isinstance(block, str)
    return block


def admit_follower(server: Server) -> None:
    server.execute(documented("CREATE ROLE"))


def subscribe(follower: Server, server: Server) -> None:
    follower.execute((ROOT / "docs" / "change-stream.sql").read_text())
    command = documented("CREATE SUBSCRIPTION").partition(";")[0]
    address = f"host={server.info.host} port={server.info.port} dbname={server.info.dbname}"
    follower.execute(command.replace("host=molecule.example dbname=molecule", address))


def column(server: Server, query: str) -> list[Any]:
    return [value for (value,) in server.execute(query)]


def until_it_follows(follower: Server) -> None:
    pending = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"
    until(lambda: column(follower, pending) == [0], "the first copy")


def expect_events(follower: Server, expected: list[int]) -> None:
    """All of them arrive, in this order, none twice."""
    query = "SELECT seq FROM structure_events ORDER BY arrived"
    until(lambda: len(column(follower, query)) >= len(expected), f"{len(expected)} events")
    assert column(follower, query) == expected


def recorded() -> list[int]:
    return list(StructureEvent.objects.order_by("seq").values_list("seq", flat=True))


def create(name: str, parent_id: UUID | None = None) -> Workspace:
    return workspaces.create(NewWorkspace(name=name, model="sonnet", parent_id=parent_id), actor=ACTOR)


def create_at_once(writers: int, each: int) -> None:
    """Writers that race: their commits interleave, and some are undone, which leaves gaps in `seq`."""

    def write(writer: int) -> None:
        for number in range(each):
            create(f"{writer}.{number}")
            with pytest.raises(DatabaseError):
                workspaces.create(NewWorkspace(name="too high", tier=9), actor=ACTOR)
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_another_postgres_follows_and_goes_on_after_a_restart(platform: Server, elsewhere: Path) -> None:
    root = create("before the first copy")
    with running_follower(elsewhere) as follower:
        subscribe(follower, platform)
        until_it_follows(follower)
        create_at_once(writers=4, each=5)
        expect_events(follower, recorded())
        assert recorded()[-1] - recorded()[0] >= len(recorded()), "no gaps: nothing was undone"
    create_at_once(writers=2, each=5)
    child = create("while the follower is away")
    Workspace.objects.filter(id=root.id).update(current_task="busy")
    with running_follower(elsewhere) as follower:
        expect_events(follower, recorded())
        create("after its restart", parent_id=child.id)
        expect_events(follower, recorded())
        assert column(follower, WORKSPACES) == column(platform, WORKSPACES)
        follower.execute(documented("DROP SUBSCRIPTION"))
    assert column(platform, "SELECT slot_name FROM pg_replication_slots") == []


def test_a_follower_that_is_away_is_reported_with_what_it_holds_back(
    platform: Server, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_follower(elsewhere) as follower:
        subscribe(follower, platform)
        until_it_follows(follower)
    inactive = f"SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{SUBSCRIPTION}'"
    until(lambda: column(platform, inactive) == [True], "the slot to be free")
    platform.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 3 << 20), true)")
    assert health._replication_slots() == "1, none holds WAL back"
    monkeypatch.setattr(health, "RETAINED_WAL_BYTES", 2 << 20)
    with pytest.raises(health.CheckWarning, match=rf"{SUBSCRIPTION}: inactive, holds back \d+ MiB of WAL"):
        health._replication_slots()


def test_a_server_that_nobody_can_follow_is_migrated_warned_about_and_followed_later(
    state: Path, elsewhere: Path
) -> None:
    with running_postgres(state, wal_level="replica") as url:
        manage(environment(url), "migrate", "-v0")
        check = checks(url)["change-stream"]
        assert (check["ok"], check["warning"]) == (True, True)
        assert check["detail"].startswith("wal_level is replica, the change stream is off")
        assert "set wal_level=logical, restart PostgreSQL" in check["detail"]
    with running_follower(elsewhere) as follower:
        with running_postgres(state) as url, as_administrator(url) as server:
            assert "warning" not in checks(url)["change-stream"]
            admit_follower(server)
            subscribe(follower, server)
            until_it_follows(follower)
            manage(environment(url), "shell", "-v0", "-c", THREE_WORKSPACES)
        with running_postgres(state) as url, as_administrator(url) as server:
            manage(environment(url), "shell", "-v0", "-c", THREE_WORKSPACES)
            expect_events(follower, column(server, "SELECT seq FROM structure_events ORDER BY seq"))
            assert len(column(follower, "SELECT seq FROM structure_events")) == 6
            follower.execute(documented("DROP SUBSCRIPTION"))


def test_a_slot_that_lost_what_its_consumer_needs_is_reported(state: Path) -> None:
    with running_postgres(state, max_slot_wal_keep_size="1MB") as url, as_administrator(url) as server:
        server.execute("SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')")
        for _ in range(4):  # a segment is 16 MB
            server.execute("SELECT pg_logical_emit_message(false, 'test', 'x', true), pg_switch_wal()")
        server.execute("CHECKPOINT")
        check = checks(url)["replication-slots"]
        assert (check["ok"], check["warning"]) == (True, True)
        assert check["detail"].startswith("forgotten has lost WAL that its consumer needs")
        assert "SELECT pg_drop_replication_slot('forgotten')" in check["detail"]


def test_it_publishes_two_tables_whole(db: None) -> None:
    assert published() == ["structure_events", "workspaces"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT attnames FROM pg_publication_tables WHERE tablename = 'workspaces'")
        assert set(cursor.fetchone()[0]) == {field.column for field in Workspace._meta.concrete_fields}


def test_the_migration_may_be_repeated_and_undone(db: None) -> None:
    migration = import_module("registry.migrations.0002_publication")
    for sql, expected in (
        (migration.CREATE, ["structure_events", "workspaces"]),
        (migration.DROP, []),
        (migration.DROP, []),
        (migration.CREATE, ["structure_events", "workspaces"]),
    ):
        with connection.cursor() as cursor:
            cursor.execute(sql)
        assert published() == expected


def published() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_publication_tables WHERE pubname = 'molecule_changes' ORDER BY 1")
        return [name for (name,) in cursor.fetchall()]


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url}


def checks(url: str) -> dict[str, Any]:
    """What health says of another server, asked as the platform's own role."""
    answer: dict[str, Any] = json.loads(manage(environment(url), "shell", "-v0", "-c", CHECKS))
    return answer
