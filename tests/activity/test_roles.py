"""Two roles: what the serving one may not do, with the statements that an attacker would send as it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.checks import Tags, run_checks
from django.core.management import call_command
from django.db import ProgrammingError, connection
from django.db.utils import load_backend

from activity import roles
from activity.models import StructureEvent
from molecule import embedded
from registry.models import Workspace
from registry.organisation import rebuild, removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from tests.registry.racing import as_if_on

SERVING = embedded.SERVING_ROLE
Server = psycopg.Connection[Any]


@contextmanager
def logged_in(role: str) -> Iterator[Server]:
    address = f"postgresql://{role}@/{connection.settings_dict['NAME']}?{urlsplit(os.environ['DATABASE_URL']).query}"
    with psycopg.connect(address, autocommit=True) as server:
        yield server


def login(role: str) -> dict[str, Any]:
    """The settings of a connection to the tests' database as that role, which is not of the pool."""
    given = connection.settings_dict
    return {**given, "USER": role, "OPTIONS": {name: v for name, v in given["OPTIONS"].items() if name != "pool"}}


@contextmanager
def serving() -> Iterator[None]:
    """In this block Django is logged in as the serving role."""
    engine = load_backend(connection.settings_dict["ENGINE"])
    with closing(engine.DatabaseWrapper(login(SERVING), "default")) as other, as_if_on(other):
        yield


@pytest.fixture
def two_roles(transactional_db: None, settings: Any) -> Iterator[None]:
    """As with DATABASE_OWNER_URL: the tests' own role owns the tables, another serves."""
    settings.DATABASE_OWNER = login(connection.settings_dict["USER"])
    settings.DATABASE_ROLE = SERVING
    call_command("migrate", verbosity=0)
    yield
    with logged_in("postgres") as server:
        server.execute(f"DROP OWNED BY {SERVING}")


@pytest.fixture
def attacker(two_roles: None) -> Iterator[Server]:
    workspaces.create(NewWorkspace(name="One", model="m"), actor="test")
    with logged_in(SERVING) as server:
        yield server


SEQUENCE = "structure_events_seq_seq"
COLUMNS = "event_type, workspace_id, payload, actor"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE structure_events SET actor = 'somebody else'",
        "UPDATE structure_events SET actor = 'somebody else' WHERE false",
        "DELETE FROM structure_events",
        "TRUNCATE structure_events",
        "TRUNCATE workspaces CASCADE",
        "DROP TABLE structure_events CASCADE",
        "ALTER TABLE structure_events DISABLE TRIGGER structure_events_append_only",
        "ALTER TABLE structure_events DISABLE TRIGGER ALL",
        "ALTER TABLE structure_events RENAME TO away",
        "ALTER TABLE structure_events DROP CONSTRAINT structure_events_complete",
        "ALTER TABLE structure_events OWNER TO molecule_serving",
        "ALTER TABLE structure_events ENABLE ROW LEVEL SECURITY",
        "CREATE RULE lost AS ON INSERT TO structure_events DO INSTEAD NOTHING",
        "DROP TRIGGER structure_events_append_only ON structure_events",
        "CREATE TRIGGER also BEFORE INSERT ON structure_events FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger()",
        "CREATE INDEX slow ON structure_events (payload)",
        "CREATE OR REPLACE FUNCTION structure_events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "DROP FUNCTION structure_events_refuse_change() CASCADE",
        "ALTER FUNCTION structure_events_lock() SET search_path = public",
        f"SELECT setval('{SEQUENCE}', 1)",
        f"SELECT nextval('{SEQUENCE}')",
        f"ALTER SEQUENCE {SEQUENCE} RESTART",
        f"INSERT INTO structure_events ({COLUMNS}, seq) OVERRIDING SYSTEM VALUE "
        "VALUES ('WORKSPACE_OFFLINE', gen_random_uuid(), '{}', 'x', 9000000000000000000)",
        "SET session_replication_role = replica",
        "SET ROLE molecule",
        "SET SESSION AUTHORIZATION molecule",
        "CREATE FUNCTION public.pg_advisory_xact_lock(int) RETURNS void LANGUAGE sql AS ''",
        "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
        "CREATE SCHEMA evil",
        "CREATE TABLE evil (id int)",
        "CREATE TEMPORARY TABLE workspaces (id uuid)",
        "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
        "ALTER DATABASE CURRENT_CATALOG SET search_path = evil",
        "ALTER ROLE molecule SET search_path = evil",
        "CREATE ROLE another SUPERUSER",
        "ALTER ROLE molecule_serving SUPERUSER",
        "GRANT molecule TO molecule_serving",
        "DROP PUBLICATION molecule_changes",
        "DELETE FROM django_migrations",
        "INSERT INTO rebuilds (rows) VALUES (1)",
        "COPY structure_events TO PROGRAM 'true'",
    ],
)
def test_the_serving_role_cannot(attacker: Server, statement: str) -> None:
    statement = statement.replace("CURRENT_CATALOG", connection.settings_dict["NAME"])
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName)):
        attacker.execute(statement)
    assert StructureEvent.objects.count() == 2


def test_the_serving_role_can_work(attacker: Server) -> None:
    """Appending as record() does, and everything in the other tables."""
    attacker.execute(
        f"INSERT INTO structure_events ({COLUMNS}, created_at) "
        "VALUES ('WORKSPACE_OFFLINE', gen_random_uuid(), '{}', 'x', clock_timestamp())"
    )
    attacker.execute("UPDATE workspaces SET current_task = 'busy'")
    attacker.execute("DELETE FROM agents")
    attacker.execute("INSERT INTO secret_accesses (actor, action, keys) VALUES ('x', 'read', '{}')")


def test_tables_to_come_are_served_at_once(attacker: Server) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE later (id BIGINT PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name text)")
    try:
        attacker.execute("INSERT INTO later (name) VALUES ('x')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            attacker.execute("TRUNCATE later")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE later")


def test_what_was_granted_by_hand_is_taken_back_by_the_next_migrate(attacker: Server) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT ALL ON structure_events TO {SERVING}")
        cursor.execute(f"GRANT ALL ON SEQUENCE {SEQUENCE} TO {SERVING}")
    assert roles.excess_rights() == [roles.EXCESS_DESCRIPTIONS[2], roles.EXCESS_DESCRIPTIONS[3]]
    call_command("migrate", verbosity=0)
    assert roles.excess_rights() == []


def warnings() -> list[str]:
    found = run_checks(tags=[Tags.database], databases=["default"])
    return [message.msg for message in found if message.id == "molecule.W003"]


def test_a_role_that_may_do_more_is_a_warning(attacker: Server, settings: Any) -> None:
    assert warnings() == []
    settings.DATABASE_ROLE = "molecule"
    [message] = warnings()
    assert message.startswith("The role molecule, which serves, owns structure_events")
    settings.DATABASE_ROLE = "postgres"
    assert "is a superuser" in warnings()[0]


@pytest.mark.parametrize("right", ["UPDATE (actor)", "TRIGGER", "TRUNCATE", "DELETE", "INSERT"])
def test_each_right_on_the_log_is_found(two_roles: None, right: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT {right} ON structure_events TO {SERVING}")
    assert len(roles.excess_rights()) == 1


def test_one_role_works_as_before_with_a_warning(transactional_db: None) -> None:
    call_command("migrate", verbosity=0)
    assert roles.excess_rights() == [*roles.EXCESS_DESCRIPTIONS[1:]]
    workspaces.create(NewWorkspace(name="One"), actor="test")


def test_before_the_first_migration_there_is_nothing_to_say(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE structure_events RENAME TO away")
        try:
            assert roles.excess_rights() == []
            roles.grant()
        finally:
            cursor.execute("ALTER TABLE away RENAME TO structure_events")


def test_a_repair_runs_as_the_owner(attacker: Server) -> None:
    """It disables triggers, which the serving role may not."""
    Workspace.objects.update(name="Other")
    with serving():
        with pytest.raises(ProgrammingError, match="must be owner"):
            rebuild.fix()
        call_command("rebuild", fix=True)
        assert rebuild.check() == []


def test_operations_need_no_more(attacker: Server) -> None:
    with serving():
        one = workspaces.create(NewWorkspace(name="Two", model="m"), actor="test")
        workspaces.update(one.id, {"name": "Three"}, actor="test")
        removal.remove(one.id, actor="test", confirm=True)
    assert StructureEvent.objects.count() == 6
