"""Migrations of a database that has rows, forwards and backwards."""

from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from registry.identity import enrolment
from registry.models import Workspace
from registry.organisation import rebuild
from tests.conftest import bearer

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Workspace]


@pytest.fixture
def migrate() -> Iterator[Callable[[str], None]]:
    def to(name: str) -> None:
        call_command("migrate", "registry", name, verbosity=0)

    yield to
    call_command("migrate", "registry", verbosity=0)


def test_what_awaits_an_agent_shows_when_its_token_ends(migrate: Callable[[str], None], make_workspace: Make) -> None:
    waiting, registered, nobody = (make_workspace(name) for name in ("waiting", "registered", "nobody"))
    issued = [enrolment.issue(one.id) for one in (waiting, registered)]
    body = {"id": str(registered.id), "url": "http://a:1", "agent_card": {"name": "Agent"}}
    assert bearer(issued[1].token).post("/registry/register", body).status_code == 200
    enrolment.issue(registered.id)
    migrate("0005")
    migrate("0008")
    ends = {one.id: one.enrolment_expires_at for one in Workspace.objects.all()}
    assert ends == {waiting.id: issued[0].expires_at, registered.id: None, nobody.id: None}


def test_a_runtime_survives_backwards_and_forwards(migrate: Callable[[str], None], make_workspace: Make) -> None:
    known, unknown = make_workspace(runtime="langgraph"), make_workspace()
    migrate("0006")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, runtime FROM workspaces")
        assert dict(cursor.fetchall()) == {known.id: "langgraph", unknown.id: ""}
    migrate("0008")
    assert dict(Workspace.objects.values_list("id", "runtime")) == {known.id: "langgraph", unknown.id: None}
    assert rebuild.check() == []


def test_a_bad_event_of_before_stops_no_upgrade(make_workspace: Make) -> None:
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


def test_the_check_of_events_is_valid_for_all_rows_of_a_sound_log(make_workspace: Make) -> None:
    call_command("migrate", "activity", "0003", verbosity=0)
    make_workspace("One")
    call_command("migrate", "activity", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'structure_events_complete'")
        assert cursor.fetchone() == (True,)
