"""The database refuses an event that lacks what its type needs, and keeps inserts by plain SQL in order.

Replay, time travel, directory and teams may rely on that. A bad event could never be removed again.

The constraint is NOT VALID, so the table is locked only briefly; the next migration checks the existing rows. The
trigger takes the log's lock (activity.cache_versions.LOG) before the statement draws its first `seq`, so that a lower
position never commits after a higher one. record() has the lock already.
"""

from django.db import migrations

UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


# Predicates of SQL/JSON paths. type() looks at the value itself, while comparisons also look into arrays.
def text(path):
    return f'{path}.type() == "string"'


def filled(path):
    return f'({text(path)} && {path} != "")'


def uuid(path):
    return f'({text(path)} && {path} like_regex "{UUID}")'


def tier(path):
    return f'({path}.type() == "number" && ({" || ".join(f"{path} == {number}" for number in (1, 2, 3, 4))}))'


def card(path):
    return nullable(f'{path}.type() == "object"', path)


def nullable(condition, path):
    return f'({path}.type() == "null" || {condition})'


def nullable_text(path):
    return nullable(text(path), path)


def nullable_uuid(path):
    return nullable(uuid(path), path)


def optional(condition, path, value=None):
    """`value`: the path of the value, if it is not `path`."""
    return f"(!exists({path}) || {condition(value or path)})"


def changed(condition, name):
    """[old, new] in `changes`."""
    return optional(condition, f"$.changes.{name}", f"$.changes.{name}[1]")


def all_of(*conditions):
    return " && ".join(conditions)


# What projection.changes() and the audience read.
PAYLOADS = {
    "WORKSPACE_PROVISIONING": "exists($.from) || "
    + all_of(
        filled("$.name"),
        optional(tier, "$.tier"),
        *(optional(nullable_text, f"$.{name}") for name in ("role", "runtime", "source_bundle_id")),
        optional(nullable_uuid, "$.parent_id"),
    ),
    "WORKSPACE_ONLINE": all_of(optional(nullable_text, "$.url"), optional(card, "$.agent_card")),
    "WORKSPACE_UPDATED": all_of(
        '$.changes.type() == "object"',
        changed(filled, "name"),
        changed(tier, "tier"),
        *(changed(nullable_text, name) for name in ("role", "runtime", "url")),
        changed(card, "agent_card"),
        changed(nullable_uuid, "forwarded_to"),
    ),
    "WORKSPACE_MOVED": all_of(nullable_uuid("$.old_parent_id"), nullable_uuid("$.new_parent_id")),
    "WORKSPACE_REMOVED": nullable_uuid("$.forwarded_to"),
    "AGENT_ASSIGNED": text("$.model"),
    "AGENT_REMOVED": nullable_text("$.reason"),
    "AGENT_REPLACED": all_of(uuid("$.old_agent_id"), text("$.new_model")),
    "AGENT_MOVED": uuid("$.to_workspace_id"),
    "AGENT_CARD_UPDATED": card("$.agent_card"),
}
AGENT_TYPES = ("AGENT_ASSIGNED", "AGENT_REMOVED", "AGENT_REPLACED", "AGENT_MOVED")
# Strict mode, because otherwise the filter unwraps arrays.
PAIRS = 'strict !exists($.changes.* ? (@.type() != "array" || @.size() != 2))'


def complete(event_type):
    conditions = [f"payload @@ '{PAYLOADS[event_type]}'"]
    if event_type in AGENT_TYPES:
        conditions.append("agent_id IS NOT NULL")
    if event_type == "WORKSPACE_UPDATED":
        conditions.append(f"payload @@ '{PAIRS}'")
    return f"WHEN '{event_type}' THEN {' AND '.join(conditions)}"


# A function is planned once in a session; an expression of this size would be planned for each statement.
CREATE = f"""
CREATE FUNCTION structure_events_is_complete(event_type text, workspace_id uuid, agent_id uuid, payload jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN (workspace_id IS NOT NULL AND coalesce(jsonb_typeof(payload), 'object') = 'object' AND CASE event_type
    {" ".join(complete(event_type) for event_type in PAYLOADS)}
    ELSE true END) IS TRUE;
END $$;
ALTER TABLE structure_events ADD CONSTRAINT structure_events_complete
  CHECK (structure_events_is_complete(event_type, workspace_id, agent_id, payload)) NOT VALID;

CREATE FUNCTION structure_events_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(x'4D4F4C01'::int);
  RETURN NULL;
END $$;
CREATE TRIGGER structure_events_in_order
  BEFORE INSERT ON structure_events FOR EACH STATEMENT EXECUTE FUNCTION structure_events_lock();
ALTER TABLE structure_events ENABLE ALWAYS TRIGGER structure_events_in_order;
"""
DROP = """
DROP TRIGGER structure_events_in_order ON structure_events;
DROP FUNCTION structure_events_lock();
ALTER TABLE structure_events DROP CONSTRAINT structure_events_complete;
DROP FUNCTION structure_events_is_complete(text, uuid, uuid, jsonb);
"""


class Migration(migrations.Migration):
    dependencies = [("activity", "0003_slow_vacuum")]

    operations = [migrations.RunSQL(CREATE, DROP)]
