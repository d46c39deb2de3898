"""--fix repairs everything that --check reports, and every running process continues from the repaired tables."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from activity import events, redis
from activity.hub import Hub, Restarted
from activity.listeners import CANVASES
from activity.log import Entry, write
from activity.models import ActivityType
from activity.outbox import START_OVER
from canvas import layout
from registry.identity import tokens
from registry.liveness import presence
from registry.models import Agent, SecretAccess, Status, Workspace, WorkspaceSecret, WorkspaceToken
from registry.organisation import agents, rebuild, removal, workspaces
from registry.organisation.audience import Teams
from registry.organisation.directory import Directory, Lookup
from registry.organisation.workspaces import NewWorkspace
from registry.secrets import store
from tests.activity.sockets import Client, listening
from tests.registry.racing import STRESS
from tests.registry.test_property import empty

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = "test"
STRANGER = UUID(int=99)


def create(name: str, **fields: Any) -> UUID:
    given: dict[str, Any] = {"external": True, "url": f"http://{name}:1", "model": f"model of {name}"} | fields
    return workspaces.create(NewWorkspace(name=name, **given), actor=ACTOR).id


def organisation() -> list[UUID]:
    """A team of three, a removed workspace that is forwarded, one without a model and one after a move of its model."""
    top = create("top")
    left, right = create("left", parent_id=top), create("right", parent_id=top)
    gone = create("gone", parent_id=left)
    removal.remove(gone, actor=ACTOR, confirm=True, forward_to=right)
    bare = create("bare", model=None)
    agents.move(left, bare, actor=ACTOR)
    agents.assign(left, "second", actor=ACTOR)
    store.set_for_workspace(top, "KEY", "value", actor=ACTOR)
    return [top, left, right, gone, bare]


def damage(statement: str, *values: Any) -> None:
    """Change the tables with more rights than Molecule has. What the database still refuses does no damage."""
    with transaction.atomic(), connection.cursor() as cursor:
        for guard in rebuild.GUARDS:
            cursor.execute(f"ALTER TABLE workspaces DISABLE TRIGGER {guard}")
        cursor.execute(statement, values)
    with connection.cursor() as cursor:
        for guard in rebuild.GUARDS:
            cursor.execute(f"ALTER TABLE workspaces ENABLE TRIGGER {guard}")


def add_unknown(parent_id: UUID | None = None) -> None:
    """A workspace that the log does not know, with everything that a workspace may have."""
    Workspace.objects.create(id=STRANGER, name="stranger", status=Status.ONLINE, url="http://s:1", parent_id=parent_id)
    Agent.objects.create(workspace_id=STRANGER, model="m")
    tokens.issue_workspace_token(STRANGER)
    store.set_for_workspace(STRANGER, "KEY", "value", actor=ACTOR)
    layout.place(STRANGER, x=1.0, y=1.0)
    write(STRANGER, [Entry(activity_type=ActivityType.AGENT_LOG)])


def repair() -> None:
    rebuild.fix()
    assert rebuild.check() == []


SWAP = """
UPDATE agents a SET status = 'removed' WHERE a.status = 'active';
UPDATE agents a SET workspace_id = b.workspace_id
FROM (SELECT id, lead(workspace_id, 1, first) OVER (ORDER BY id) AS workspace_id
      FROM (SELECT *, first_value(workspace_id) OVER (ORDER BY id) AS first FROM agents WHERE removed_at IS NULL) c) b
WHERE a.id = b.id;
UPDATE agents a SET status = 'active' WHERE removed_at IS NULL
"""


def test_agents_that_changed_places_go_back() -> None:
    organisation()
    damage(SWAP)
    assert len(rebuild.check()) > 1
    repair()


def test_an_unknown_workspace_is_deleted_with_all_rows_that_refer_to_it() -> None:
    top, *_ = organisation()
    add_unknown()
    damage("UPDATE workspaces SET parent_id = %s, forwarded_to = %s WHERE id = %s", STRANGER, STRANGER, top)
    damage("UPDATE agents SET workspace_id = %s WHERE status = 'removed'", STRANGER)
    repair()
    for table in (WorkspaceSecret, WorkspaceToken, SecretAccess):
        assert not table._default_manager.filter(workspace_id=STRANGER).exists()
    assert SecretAccess.objects.filter(workspace_id=top).exists()


def test_a_workspace_that_came_back_is_removed_with_its_credentials() -> None:
    *_, gone, _bare = organisation()
    damage("UPDATE workspaces SET status = 'online' WHERE id = %s", gone)
    token = tokens.issue_workspace_token(gone)
    presence.mark_alive({gone: None})
    presence.cache_url(gone, "http://gone:1")
    redis.client().delete(presence.tombstone_key(gone))
    presence.mark_alive({gone: None})
    repair()
    assert not tokens.has_live_token(gone)
    presented = tokens.presented_token(token.text)
    assert presented is not None
    assert tokens.callers({presented}) == {}
    assert not redis.client().exists(presence.liveness_key(gone), presence.url_key(gone))


def test_an_event_by_sql_that_names_an_unknown_workspace_does_not_stop_a_repair() -> None:
    """The log may name a parent that it does not know, and an agent of a workspace that it does not know."""
    nobody = str(uuid4())
    insert = "INSERT INTO structure_events (event_type, workspace_id, agent_id, payload) VALUES (%s, %s, %s, %s)"
    damage(insert, "WORKSPACE_PROVISIONING", uuid4(), None, f'{{"name": "orphan", "parent_id": "{nobody}"}}')
    damage(insert, "AGENT_ASSIGNED", nobody, uuid4(), '{"model": "m"}')
    damage(insert, "WORKSPACE_OFFLINE", nobody, None, "{}")
    repair()
    assert Workspace.objects.get().parent_id is None


WORKSPACE_DAMAGE = {
    "name": st.sampled_from(["other", "x" * 500]),
    "role": st.sampled_from([None, "r"]),
    "tier": st.integers(1, 4),
    "runtime": st.sampled_from([None, "r"]),
    "status": st.sampled_from(list(Status)),
    "source_bundle_id": st.sampled_from([None, "b"]),
    "agent_card": st.sampled_from([None, "null", "[]", '{"name": "other"}']),
    "url": st.sampled_from([None, "", "http://x"]),
    "created_at": st.just("2020-01-01"),
    "updated_at": st.just("2020-01-01"),
}
AGENT_DAMAGE = {
    "model": st.sampled_from(["other"]),
    "status": st.sampled_from(["active", "removed"]),
    "removed_at": st.sampled_from([None, "2020-01-01"]),
    "removal_reason": st.sampled_from([None, "other"]),
    "created_at": st.just("2020-01-01"),
}
PLACE = st.integers(0, 9)
REFERENCES = [("workspaces", "parent_id"), ("workspaces", "forwarded_to"), ("agents", "workspace_id")]


def columns_of(table: str, columns: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.one_of(
        *(st.tuples(st.just("set"), st.just(table), st.just(name), values, PLACE) for name, values in columns.items())
    )


DAMAGE = st.one_of(
    columns_of("workspaces", WORKSPACE_DAMAGE),
    columns_of("agents", AGENT_DAMAGE),
    st.tuples(st.just("refer"), st.sampled_from(REFERENCES), PLACE, PLACE),
    st.tuples(st.just("delete agent"), PLACE),
    st.tuples(st.just("delete workspace"), PLACE),
    st.tuples(st.just("add agent"), PLACE),
    st.tuples(st.just("add workspace"), PLACE),
    st.tuples(st.just("swap agents")),
)
DELETE = """
DELETE FROM agents WHERE workspace_id = %(id)s; DELETE FROM workspace_tokens WHERE workspace_id = %(id)s;
DELETE FROM workspace_secrets WHERE workspace_id = %(id)s; DELETE FROM secret_accesses WHERE workspace_id = %(id)s;
UPDATE workspaces SET parent_id = NULL WHERE parent_id = %(id)s;
UPDATE workspaces SET forwarded_to = NULL WHERE forwarded_to = %(id)s; DELETE FROM workspaces WHERE id = %(id)s
"""


def do(kind: str, *how: Any) -> None:
    def row(table: str, place: int) -> UUID:
        ids = list((Workspace if table == "workspaces" else Agent)._default_manager.order_by("id").values_list("id"))
        return UUID(str(ids[place % len(ids)][0])) if ids else STRANGER

    match kind, *how:
        case "set", table, column, value, place:
            damage(f"UPDATE {table} SET {column} = %s WHERE id = %s", value, row(table, place))
        case "refer", (table, column), place, target:
            damage(f"UPDATE {table} SET {column} = %s WHERE id = %s", row("workspaces", target), row(table, place))
        case "delete agent", place:
            damage("DELETE FROM agents WHERE id = %s", row("agents", place))
        case "delete workspace", place:
            with connection.cursor() as cursor:
                for statement in DELETE.split(";"):
                    cursor.execute(statement, {"id": row("workspaces", place)})
        case "add agent", place:
            damage("INSERT INTO agents (workspace_id, model) VALUES (%s, 'm')", row("workspaces", place))
        case "add workspace", place:
            add_unknown(row("workspaces", place))
        case ("swap agents",):
            damage(SWAP)


@given(st.lists(DAMAGE, min_size=1, max_size=12))
@settings(
    max_examples=500 if STRESS else 30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_damage_is_repaired(damages: list[tuple[Any, ...]]) -> None:
    empty()
    organisation()
    for one in damages:
        try:
            do(*one)
        except (DatabaseError, ValueError):
            continue
    found = rebuild.check()
    repaired = rebuild.fix()
    assert {(one.table, one.id) for one in repaired} == {(one.table, one.id) for one in found}
    assert rebuild.check() == []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgname = ANY(%s) AND tgenabled = 'O'", [[*rebuild.GUARDS]]
        )
        assert cursor.fetchone() == (len(rebuild.GUARDS),)


# --- Running processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis_forgets", [False, True])
def test_a_directory_goes_on_from_the_repaired_tables(redis_forgets: bool) -> None:
    top, left, *_ = organisation()
    add_unknown(parent_id=top)
    token = tokens.presented_token(tokens.issue_workspace_token(STRANGER).text)
    known = tokens.presented_token(tokens.issue_workspace_token(left).text)
    assert token is not None
    assert known is not None
    directory = Directory()
    lookups = [Lookup(top, token, None), Lookup(STRANGER, known, None), Lookup(top, known, None)]
    assert [bool(match) for match in directory.resolve(lookups)] == [True, True, True]
    rebuild.fix()
    if redis_forgets:
        redis.client().flushall()
    assert [bool(match) for match in directory.resolve(lookups)] == [False, False, True]


async def test_a_hub_starts_over_at_once_from_the_repaired_tables() -> None:
    """Its sockets are closed: clients connect again and load what they show."""
    top, *_ = await sync_to_async(organisation)()
    await sync_to_async(add_unknown)(parent_id=top)
    teams = Teams()
    hub, client = Hub(teams), Client()
    await hub.start()
    try:
        listener = listening(client, CANVASES)
        hub.add(listener)
        hub.subscribe(listener)
        assert str(STRANGER) in teams.parents
        await sync_to_async(rebuild.fix)()
        async with asyncio.timeout(10):
            while client.code is None:
                await asyncio.sleep(0.01)
        assert client.code == START_OVER
        await hub.start()
        assert str(STRANGER) not in teams.parents
    finally:
        for task in hub.tasks:
            task.cancel()
        await sync_to_async(connections.close_all)()


async def test_a_hub_that_missed_the_message_finds_out_by_its_poll() -> None:
    await sync_to_async(organisation)()
    await sync_to_async(add_unknown)()
    teams = Teams()
    hub = Hub(teams)
    hub.rebuild = 0
    hub.position, hub.event_id = await sync_to_async(teams.load)()
    client = Client()
    listener = listening(client, CANVASES)
    hub.add(listener)
    await sync_to_async(rebuild.fix)()
    with pytest.raises(Restarted):
        await hub.poll_log()
    assert client.code == START_OVER
    await sync_to_async(connections.close_all)()


def test_nothing_starts_over_when_nothing_was_different() -> None:
    organisation()
    before = events.last_rebuild()
    assert rebuild.fix() == []
    assert events.last_rebuild() == before
