"""The database has every table, column, type, default, key and index of the specification, with the same names."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

SPECIFICATION = Path(__file__).with_name("specification.sql").read_text()
TYPES = {
    "UUID": "uuid",
    "TEXT": "text",
    "INTEGER": "integer",
    "JSONB": "jsonb",
    "TIMESTAMPTZ": "timestamp with time zone",
    "FLOAT": "double precision",
    "BYTEA": "bytea",
    "BOOLEAN": "boolean",
}
COLUMN = re.compile(
    r"^(?P<name>\w+) (?P<type>[A-Z]+)(?P<primary> PRIMARY KEY)?(?P<not_null> NOT NULL)?"
    r"( REFERENCES (?P<table>\w+)\((?P<target>\w+)\)(?P<cascade> ON DELETE CASCADE)?)?"
    r"( NOT NULL)?( DEFAULT (?P<default>[^,]+?))?$"
)
KEY = re.compile(r"^(?P<kind>PRIMARY KEY|UNIQUE) ?\((?P<columns>[^)]+)\)$")


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    type: str
    default: str | None
    not_null: bool


@dataclass(frozen=True)
class Key:
    """A primary key, unique constraint or foreign key, with the name that PostgreSQL generates for it."""

    name: str
    definition: str


def parse_specification() -> tuple[list[Column], list[Key]]:
    columns, keys = [], []
    for table, body in re.findall(r"CREATE TABLE (\w+) \(\n(.*?)\n\);", SPECIFICATION, re.DOTALL):
        for line in (line.strip().rstrip(",") for line in body.splitlines()):
            if key := KEY.match(line):
                keys.append(_key(table, key["kind"], key["columns"].replace(" ", "").split(",")))
                continue
            column = COLUMN.match(line)
            assert column, f"cannot read {line!r}"
            default = column["default"]
            columns.append(Column(table, column["name"], TYPES[column["type"]], default, bool(column["not_null"])))
            if column["primary"]:
                keys.append(_key(table, "PRIMARY KEY", [column["name"]]))
            if column["table"]:
                definition = f"FOREIGN KEY ({column['name']}) REFERENCES {column['table']}({column['target']})"
                keys.append(Key(f"{table}_{column['name']}_fkey", definition + (column["cascade"] or "")))
    columns.append(Column("workspaces", "current_task", "text", None, False))
    return columns, keys


def _key(table: str, kind: str, columns: list[str]) -> Key:
    name = f"{table}_pkey" if kind == "PRIMARY KEY" else f"{table}_{'_'.join(columns)}_key"
    return Key(name, f"{kind} ({', '.join(columns)})")


COLUMNS, KEYS = parse_specification()


def test_every_table_and_reference_of_the_specification_is_parsed() -> None:
    assert len({column.table for column in COLUMNS}) == SPECIFICATION.count("CREATE TABLE")
    assert sum("REFERENCES" in key.definition for key in KEYS) == SPECIFICATION.count("REFERENCES")


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table}.{column.name}")
def test_column_matches_the_specification(column: Column, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data_type, column_default, is_nullable FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = %s AND column_name = %s",
            [column.table, column.name],
        )
        found = cursor.fetchone()
    assert found, "no such column"
    data_type, default, nullable = found
    assert data_type == column.type
    assert _without_cast(default) == column.default
    assert not (column.not_null and nullable == "YES"), "the column is nullable, the specification says NOT NULL"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_constraint_matches_the_specification(key: Key, db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid), condeferrable FROM pg_constraint WHERE conname = %s", [key.name]
        )
        assert cursor.fetchone() == (key.definition, False)


@pytest.mark.parametrize(
    ("table", "columns"), re.findall(r"CREATE INDEX ON (\w+) \(([^)]+)\);", SPECIFICATION), ids=lambda value: value
)
def test_index_of_the_specification_exists(table: str, columns: str, db: None) -> None:
    names = "_".join(column.split()[0] for column in columns.split(", "))
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [table])
        definitions = [row[0] for row in cursor.fetchall()]
    assert f"CREATE INDEX {table}_{names}_idx ON public.{table} USING btree ({columns})" in definitions


def test_plain_sql_inserts_use_defaults_and_deletes_cascade(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO workspaces (name) VALUES ('by hand') RETURNING id, tier, status, created_at")
        workspace_id, tier, status, created_at = cursor.fetchone()
        assert (tier, status) == (1, "provisioning")
        assert created_at is not None
        cursor.execute("INSERT INTO canvas_layouts (workspace_id) VALUES (%s)", [workspace_id])
        cursor.execute("INSERT INTO activity_logs (workspace_id, activity_type) VALUES (%s, 'error')", [workspace_id])
        cursor.execute("DELETE FROM workspaces WHERE id = %s", [workspace_id])
        for table in ("canvas_layouts", "activity_logs"):
            cursor.execute(f"SELECT count(*) FROM {table} WHERE workspace_id = %s", [workspace_id])
            assert cursor.fetchone() == (0,)


def _without_cast(default: str | None) -> str | None:
    """A default without its type cast: `'ok'` for `'ok'::text`."""
    return default and re.sub(r"::[a-z ]+$", "", default)
