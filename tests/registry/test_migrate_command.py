"""manage.py migrate under load, and which indexes a migration may add."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from django.db.migrations import AddConstraint, AddIndex, CreateModel, Migration, RunSQL, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder

from registry.management.commands import migrate
from tests.e2e.stack import until

APPS = ("activity", "registry", "canvas", "molecule")
LAST_BEFORE = "0006"
BEFORE_NAMES = "0013"


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(migrate, "REST_SECONDS", 0.05)
    settings.MIGRATION_LOCK_SECONDS = 0.1


@pytest.fixture
def latest(transactional_db: None) -> Iterator[None]:
    """Without the index of names: dropping one CONCURRENTLY would wait for a dump first."""
    call_command("migrate", "registry", BEFORE_NAMES, verbosity=0)
    yield
    call_command("migrate", "registry", verbosity=0)


@contextmanager
def connected(**options: Any) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(**{**connection.get_connection_params(), **options}) as opened:
        yield opened


def in_thread(threads: ThreadPoolExecutor, act: Callable[[], object]) -> Any:
    def call() -> None:
        try:
            act()
        finally:
            connection.close()

    return threads.submit(call)


def test_a_migration_that_waits_for_a_dump_holds_up_no_reader(latest: None) -> None:
    said = StringIO()
    with connected() as dump, connected(autocommit=True) as reader, ThreadPoolExecutor(1) as threads:
        reader.execute("SET lock_timeout = '20s'")
        dump.execute("SELECT count(*) FROM workspaces")
        migrated = in_thread(
            threads, lambda: call_command("migrate", "registry", LAST_BEFORE, verbosity=0, stderr=said)
        )
        until(lambda: said.getvalue().count("Tries left") > 1, "it to try again")
        assert reader.execute("SELECT count(*) FROM workspaces").fetchone() is not None
        assert f"pid {dump.info.backend_pid} for " in said.getvalue()
        assert not migrated.done()
        dump.rollback()
        migrated.result(30)


def test_a_migration_that_gets_no_lock_says_so_and_stops(latest: None, settings: Any) -> None:
    settings.MIGRATION_TRIES = 2
    with connected() as dump:
        dump.execute("SELECT count(*) FROM workspaces")
        with pytest.raises(CommandError, match="got no lock"):
            call_command("migrate", "registry", LAST_BEFORE, verbosity=0, stderr=StringIO())
    applied = MigrationRecorder(connection).applied_migrations()
    assert ("registry", "0007_roles_and_runtime") in applied


def test_an_index_that_is_built_concurrently_waits_as_long_as_it_takes(transactional_db: None) -> None:
    waiting = "SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%%' AND wait_event_type = 'Lock'"

    def build() -> None:
        with connection.execute_wrapper(migrate._bound_lock), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.1)")
            cursor.execute("CREATE INDEX CONCURRENTLY built ON workspaces (name)")

    with connected() as writer, connected(autocommit=True) as looking, ThreadPoolExecutor(1) as threads:
        writer.execute("LOCK TABLE workspaces IN ROW EXCLUSIVE MODE")
        built = in_thread(threads, build)
        until(lambda: looking.execute(waiting).fetchone() is not None, "the index to wait for the writer")
        looking.execute("SELECT pg_sleep(0.5)")
        assert not built.done()
        writer.rollback()
        built.result(30)
        looking.execute("DROP INDEX built")


def test_the_limit_stays_in_no_session(transactional_db: None) -> None:
    call_command("migrate", verbosity=0)
    with (
        connection.execute_wrapper(migrate._bound_lock),
        connection.cursor() as cursor,
        pytest.raises(ProgrammingError, match="no_such_table"),
    ):
        cursor.execute("SELECT * FROM no_such_table")
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


# --- Which indexes a migration may add ---------------------------------------------------------------------------

INDEX = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(\w+)\s+ON\s+(?:ONLY\s+)?(\w+)", re.I
)
CONSTRAINT = re.compile(
    r"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(\w+)\s[^;]*?ADD\s[^;,]*?(?:UNIQUE|PRIMARY\s+KEY)\b(?!\s+USING)",
    re.I,
)
TABLE = re.compile(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.I)
# Of releases before the rule.
EXEMPT = {
    "structure_events_created_at_idx",
    "structure_events_actor_seq_idx",
    "structure_events_event_type_seq_idx",
    "workspaces_lease_expires_at_idx",
}


def operations(found: list[Operation]) -> list[Operation]:
    """Those that touch the database."""
    nested = [
        operations(list(one.database_operations)) if isinstance(one, SeparateDatabaseAndState) else [one]
        for one in found
    ]
    return [one for group in nested for one in group]


def statements(operation: RunSQL) -> list[str]:
    parts = []
    for sql in (operation.sql, operation.reverse_sql):
        given = sql if isinstance(sql, list | tuple) else [sql or ""]
        parts += [one if isinstance(one, str) else one[0] for one in given]
    return parts


def faults(migration: Migration) -> list[str]:
    """What builds an index while it blocks the writers of a table that exists already."""
    touching = operations(list(migration.operations))
    sql = [one for operation in touching if isinstance(operation, RunSQL) for one in statements(operation)]
    new = {name for one in sql for name in TABLE.findall(one)}
    new |= {operation.name_lower for operation in touching if isinstance(operation, CreateModel)}
    found = []
    for one in sql:
        for concurrently, name, table in INDEX.findall(one):
            if concurrently:
                if migration.atomic:
                    found.append(f"{name}: CONCURRENTLY needs atomic = False")
                if not any(re.search(rf"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+{name}\b", each) for each in sql):
                    found.append(f"{name}: drop it first, a build that was interrupted leaves an invalid index")
            elif table not in new and name not in EXEMPT:
                found.append(f"{name} on {table}: CREATE INDEX CONCURRENTLY")
        found += [f"a constraint on {table}: USING INDEX" for table in CONSTRAINT.findall(one) if table not in new]
    for operation in touching:
        builds = isinstance(operation, AddIndex | AddConstraint) and not isinstance(operation, AddIndexConcurrently)
        if builds and not any(operation.references_model(name, migration.app_label) for name in new):
            found.append(f"{operation.describe()}: AddIndexConcurrently")
    return found


def test_no_migration_blocks_writers_while_it_builds_an_index() -> None:
    migrations = MigrationLoader(None).disk_migrations
    ours = {key: migration for key, migration in migrations.items() if key[0] in APPS}
    assert {key: faults(migration) for key, migration in ours.items()} == {key: [] for key in ours}


def made(*sql: str, atomic: bool = True) -> Migration:
    body = {"operations": [RunSQL(one) for one in sql], "atomic": atomic}
    kind: type[Migration] = type("Migration", (Migration,), body)
    return kind("one", "activity")


@pytest.mark.parametrize(
    ("sql", "atomic", "words"),
    [
        (["CREATE INDEX a_idx ON structure_events (actor)"], True, ["CREATE INDEX CONCURRENTLY"]),
        (["create unique index if not exists a_idx\n  on activity_logs (id)"], True, ["CREATE INDEX CONCURRENTLY"]),
        (["CREATE INDEX CONCURRENTLY a_idx ON structure_events (actor)"], True, ["atomic", "drop it first"]),
        (["CREATE INDEX CONCURRENTLY a_idx ON structure_events (actor)"], False, ["drop it first"]),
        (["ALTER TABLE secret_accesses ADD CONSTRAINT one UNIQUE (at)"], True, ["USING INDEX"]),
        (["ALTER TABLE secret_accesses ADD CONSTRAINT one UNIQUE USING INDEX a_idx"], True, []),
        (["CREATE TABLE new (id int);\nCREATE INDEX new_idx ON new (id)"], True, []),
        (
            [
                "DROP INDEX CONCURRENTLY IF EXISTS a_idx",
                "CREATE INDEX CONCURRENTLY a_idx ON structure_events (actor)",
            ],
            False,
            [],
        ),
    ],
)
def test_the_rule_for_indexes(sql: list[str], atomic: bool, words: list[str]) -> None:
    found = faults(made(*sql, atomic=atomic))
    assert len(found) == len(words)
    assert all(word in fault for word, fault in zip(words, found, strict=True))
