"""The two roles of the database: the owner, which migrates, and the serving role, with no more rights than it needs.

Only the owner may drop the triggers of the log, so the serving role's credentials are not enough to change it. Without
DATABASE_OWNER_URL one role does both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.utils import load_backend

LOG = "structure_events"
# The columns that record() sets. Not `seq`: only the sequence gives positions in order.
LOG_COLUMNS = ("event_type", "workspace_id", "agent_id", "target_id", "payload", "actor", "created_at")
# Only the owner's commands write these.
READ_ONLY = (LOG, "django_migrations", "rebuilds")
# {role}, {schema} and {database} are quoted names. Identity columns need no right on their sequences.
GRANTS = f"""
REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM {{role}};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {{schema}} FROM {{role}};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {{schema}} TO {{role}};
REVOKE ALL ON {", ".join(READ_ONLY)} FROM {{role}};
GRANT SELECT ON {", ".join(READ_ONLY)} TO {{role}};
GRANT INSERT ({", ".join(LOG_COLUMNS)}) ON {LOG} TO {{role}};
ALTER DEFAULT PRIVILEGES IN SCHEMA {{schema}} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {{role}};
GRANT USAGE ON SCHEMA {{schema}} TO {{role}};
REVOKE CREATE ON SCHEMA {{schema}} FROM PUBLIC, {{role}};
REVOKE TEMPORARY ON DATABASE {{database}} FROM PUBLIC, {{role}};
"""  # noqa: S608  # our own names
# For each right in EXCESS_DESCRIPTIONS, whether the role has it.
EXCESS = f"""
SELECT r.rolsuper OR r.rolcreaterole, pg_has_role(r.oid, log.relowner, 'MEMBER'),
  has_table_privilege(r.oid, log.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
    OR has_any_column_privilege(r.oid, log.oid, 'UPDATE'),
  has_column_privilege(r.oid, log.oid, 'seq', 'INSERT')
    OR has_sequence_privilege(r.oid, pg_get_serial_sequence('{LOG}', 'seq'), 'UPDATE'),
  has_schema_privilege(r.oid, log.relnamespace, 'CREATE')
    OR has_database_privilege(r.oid, current_database(), 'CREATE, TEMPORARY')
FROM pg_roles r, pg_class log WHERE r.rolname = %s AND log.oid = to_regclass('{LOG}')
"""  # noqa: S608  # our own names
EXCESS_DESCRIPTIONS = (
    "is a superuser or may create roles",
    f"owns {LOG}, so may drop its triggers",
    f"may change or delete rows of {LOG}",
    f"may choose positions in {LOG}",
    "may create tables or functions",
)


@contextmanager
def as_owner() -> Iterator[None]:
    """In this block Django connects as the owner, if DATABASE_OWNER_URL is set."""
    if not settings.DATABASE_OWNER:
        yield
        return
    serving = connections[DEFAULT_DB_ALIAS]
    given = connections.settings[DEFAULT_DB_ALIAS] | settings.DATABASE_OWNER
    connections[DEFAULT_DB_ALIAS] = owner = load_backend(given["ENGINE"]).DatabaseWrapper(given, DEFAULT_DB_ALIAS)
    try:
        yield
    finally:
        owner.close()
        connections[DEFAULT_DB_ALIAS] = serving


def grant() -> None:
    """Give the serving role the rights that it needs and no others, also on future tables. Call it as the owner."""
    if not settings.DATABASE_OWNER or not _value("SELECT to_regclass(%s)::text", LOG):
        return
    names = {
        "role": serving_role(),
        "schema": _value("SELECT current_schema()"),
        "database": _value("SELECT current_database()"),
    }
    if names["role"] == _value("SELECT current_user"):
        return
    quoted = {name: connection.ops.quote_name(value) for name, value in names.items()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(GRANTS.format(**quoted))


def serving_role() -> str:
    """The name of the serving role."""
    return str(settings.DATABASE_ROLE or _value("SELECT current_user"))


def excess_rights() -> list[str]:
    """Descriptions of the rights that the serving role has and does not need. Empty before the first migration."""
    with connection.cursor() as cursor:
        cursor.execute(EXCESS, [serving_role()])
        found = cursor.fetchone() or ()
    return [description for description, may in zip(EXCESS_DESCRIPTIONS, found, strict=False) if may]


def _value(query: str, *parameters: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]
