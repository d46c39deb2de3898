"""Migrations of a database that has rows, forwards and backwards."""

from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from registry.config import context, files
from registry.identity import enrolment, tokens
from registry.models import SecretAccess, Workspace, WorkspaceSecret, WorkspaceToken
from registry.organisation import rebuild
from registry.secrets import store
from tests.conftest import bearer

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Workspace]


@pytest.fixture
def migrate() -> Iterator[Callable[[str], None]]:
    def to(name: str) -> None:
        call_command("migrate", "registry", name, verbosity=0)

    yield to
    call_command("migrate", verbosity=0)


def test_what_awaits_an_agent_shows_when_its_token_ends(migrate: Callable[[str], None], make_workspace: Make) -> None:
    waiting, registered, nobody = (make_workspace(name) for name in ("waiting", "registered", "nobody"))
    issued = [enrolment.issue(one.id) for one in (waiting, registered)]
    body = {"id": str(registered.id), "url": "http://a:1", "agent_card": {"name": "Agent"}}
    assert bearer(issued[1].token).post("/registry/register", body).status_code == 200
    enrolment.issue(registered.id)
    migrate("0005")
    migrate("0009")
    ends = {one.id: one.enrolment_expires_at for one in Workspace.objects.all()}
    assert ends == {waiting.id: issued[0].expires_at, registered.id: None, nobody.id: None}


def test_a_runtime_survives_backwards_and_forwards(migrate: Callable[[str], None], make_workspace: Make) -> None:
    known, unknown = make_workspace(runtime="langgraph"), make_workspace()
    migrate("0006")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, runtime FROM workspaces")
        assert dict(cursor.fetchall()) == {known.id: "langgraph", unknown.id: ""}
    migrate("0009")
    assert dict(Workspace.objects.values_list("id", "runtime")) == {known.id: "langgraph", unknown.id: None}
    assert rebuild.check() == []


def test_tokens_that_exist_may_read_secrets_and_new_ones_may_not(
    migrate: Callable[[str], None], make_workspace: Make
) -> None:
    one = make_workspace()
    before = tokens.issue_workspace_token(one.id)
    migrate("0009")
    migrate("0010")
    migrate("0021")
    after = tokens.issue_workspace_token(one.id)
    found = dict(WorkspaceToken.objects.values_list("id", "may_reveal"))
    assert found == {before.id: True, after.id: False}


def test_what_configurations_require_is_read_from_files_that_exist(
    migrate: Callable[[str], None], make_workspace: Make
) -> None:
    one, other = make_workspace(), make_workspace()
    files.write(one.id, "config.yaml", b"env: {required: [KEY]}", actor="test")
    files.write(other.id, "config.yaml", b"name: Other", actor="test")
    migrate("0016")
    migrate("0017")
    assert {i: context.missing_environment(i) for i in (one.id, other.id)} == {one.id: ["KEY"], other.id: []}


def test_secrets_of_removed_workspaces_are_deleted_in_batches(
    migrate: Callable[[str], None], make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, active = make_workspace(), make_workspace()
    for number in range(5):
        store.set_for_workspace(gone.id, f"KEY_{number}", "value", actor="test")
    store.set_for_workspace(active.id, "KEPT", "value", actor="test")
    migrate("0010")
    Workspace.objects.filter(id=gone.id).update(status="removed")
    monkeypatch.setattr("registry.migrations.0011_secrets_of_removed_workspaces.BATCH", 2)
    migrate("0011")
    assert [secret.key for secret in WorkspaceSecret.objects.all()] == ["KEPT"]
    noted = SecretAccess.objects.filter(action="deleted").order_by("id")
    assert [(each.actor, each.workspace_id, each.keys) for each in noted] == [
        ("command:migrate", gone.id, keys) for keys in (each.keys for each in noted)
    ]
    assert sorted(key for each in noted for key in each.keys) == [f"KEY_{number}" for number in range(5)]


@pytest.mark.usefixtures("migrate")
def test_an_incomplete_older_event_does_not_stop_an_upgrade(make_workspace: Make) -> None:
    """Nothing can remove it. The check is for new events then."""
    insert = "INSERT INTO structure_events (event_type, workspace_id, payload) VALUES ('WORKSPACE_MOVED', NULL, '[]')"
    make_workspace("One")
    call_command("migrate", "activity", "0003", verbosity=0)
    with connection.cursor() as cursor:
        try:
            cursor.execute(insert)
        finally:
            call_command("migrate", "activity", verbosity=0)
        with pytest.raises(IntegrityError, match="structure_events_complete"):
            cursor.execute(insert)
        cursor.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'structure_events_complete'")
        assert cursor.fetchone() == (False,)
        cursor.execute(
            "SELECT count(*) FROM structure_events "
            "WHERE NOT structure_events_is_complete(event_type, workspace_id, agent_id, payload)"
        )
        assert cursor.fetchone() == (1,)
        connection.ops.execute_sql_flush(["TRUNCATE structure_events"])
        cursor.execute("ALTER TABLE structure_events VALIDATE CONSTRAINT structure_events_complete")


@pytest.mark.usefixtures("migrate")
def test_the_check_of_events_is_valid_for_all_rows_of_a_sound_log(make_workspace: Make) -> None:
    make_workspace("One")
    call_command("migrate", "activity", "0003", verbosity=0)
    call_command("migrate", "activity", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'structure_events_complete'")
        assert cursor.fetchone() == (True,)
