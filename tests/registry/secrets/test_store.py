"""Secrets are stored sealed, returned to their owner all or none, and appear nowhere else."""

import io
import logging
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from activity.log import Entry
from activity.models import ActivityLog, StructureEvent
from registry.exceptions import SecretsBroken, SecretsUnavailable
from registry.messaging import reports
from registry.models import GlobalSecret, SecretAccess, Workspace, WorkspaceSecret
from registry.secrets import masking, rotation, store
from tests.registry.racing import another_connection

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CANARY = "canary-5f1d9c7a"
OLD, NEW = "ab" * 32, "cd" * 32


def put(workspace: Workspace, key: str, value: str) -> None:
    store.set_for_workspace(workspace.id, key, value, actor="test")


def test_set_list_read_and_delete(as_administrator: APIClient, make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    agent, path = as_workspace(workspace), f"/workspaces/{workspace.id}/secrets"
    assert as_administrator.post(path, {"key": "OWN", "value": "a"}).json() == {"status": "saved", "key": "OWN"}
    assert as_administrator.put(path, {"key": "OWN", "value": " b\n"}).status_code == 200
    assert as_administrator.post("/settings/secrets", {"key": "OWN", "value": "global"}).status_code == 200
    shared = as_administrator.post("/admin/secrets", {"key": "SHARED", "value": "s"}).json()
    assert shared == {"status": "saved", "key": "SHARED", "scope": "global"}
    listed = as_administrator.get(path).json()
    assert [(row["key"], row["scope"], row["has_value"]) for row in listed] == [
        ("OWN", "workspace", True),
        ("SHARED", "global", True),
    ]
    assert agent.get(path).json() == listed
    assert [row["scope"] for row in as_administrator.get("/settings/secrets").json()] == ["global", "global"]
    values = agent.get(f"{path}/values")
    assert (values.json(), values["Cache-Control"]) == ({"OWN": " b\n", "SHARED": "s"}, "no-store")
    assert as_administrator.delete(f"{path}/OWN").json() == {"status": "deleted", "key": "OWN"}
    assert as_administrator.delete(f"{path}/OWN").status_code == 404
    assert as_administrator.delete("/settings/secrets/SHARED").json()["scope"] == "global"
    assert agent.get(f"{path}/values").json() == {"OWN": "global"}


def test_only_the_workspace_itself_gets_values(
    as_administrator: APIClient, as_operator: APIClient, make_workspace: Make, as_workspace: As
) -> None:
    top = make_workspace()
    child = make_workspace(parent_id=top.id)
    put(child, "KEY", CANARY)
    path = f"/workspaces/{child.id}/secrets/values"
    for client in (as_administrator, as_operator, as_workspace(top)):
        answer = client.get(path)
        assert (answer.status_code, CANARY in answer.content.decode()) == (403, False)
    assert as_workspace(child).get(path).json() == {"KEY": CANARY}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": "A"},
        {"key": "A", "value": ""},
        {"key": "1A", "value": "x"},
        {"key": "A-B", "value": "x"},
        {"key": "A\n", "value": "x"},
        {"key": "A" * 129, "value": "x"},
        {"key": "PLATFORM_URL", "value": "http://somewhere.else"},
        {"key": "A", "value": "x" * (64 * 1024 + 1)},
        {"key": "A", "value": "é" * (32 * 1024 + 1)},
        {"key": "A", "value": "nul\u0000"},
        {"key": "A", "value": ["x"]},
    ],
    ids=lambda body: str(body)[:40],
)
def test_invalid_secrets_are_refused(as_administrator: APIClient, make_workspace: Make, body: dict[str, Any]) -> None:
    workspace = make_workspace()
    for path in (f"/workspaces/{workspace.id}/secrets", "/settings/secrets"):
        assert as_administrator.post(path, body).status_code == 400
    assert not WorkspaceSecret.objects.exists()
    assert not GlobalSecret.objects.exists()


@pytest.mark.parametrize("key", ["", "nonsense"])
def test_without_a_usable_key_nothing_is_stored_or_revealed(
    as_administrator: APIClient, make_workspace: Make, settings: Any, key: str
) -> None:
    settings.SECRETS_ENCRYPTION_KEY = key
    answer = as_administrator.post("/settings/secrets", {"key": "A", "value": CANARY})
    assert (answer.status_code, CANARY in answer.content.decode()) == (503, False)
    assert "SECRETS_ENCRYPTION_KEY" in answer.json()["error"]
    assert not GlobalSecret.objects.exists()


def test_a_value_that_does_not_open_fails_the_whole_read_and_is_named(make_workspace: Make, as_workspace: As) -> None:
    workspace, other = make_workspace(), make_workspace()
    put(workspace, "GOOD", CANARY)
    put(workspace, "SWAPPED", "x")
    put(other, "SWAPPED", "y")
    theirs = WorkspaceSecret.objects.get(workspace=other).encrypted_value
    WorkspaceSecret.objects.filter(workspace=workspace, key="SWAPPED").update(encrypted_value=theirs)
    answer = as_workspace(workspace).get(f"/workspaces/{workspace.id}/secrets/values")
    assert (answer.status_code, answer.json()["failed_keys"]) == (500, ["SWAPPED"])
    assert CANARY not in answer.content.decode()


@pytest.mark.parametrize("damage", [lambda e: e[:-1], lambda e: e[:20], lambda e: e[:-1] + bytes([e[-1] ^ 1])])
def test_damaged_envelopes_do_not_open(make_workspace: Make, damage: Callable[[bytes], bytes]) -> None:
    workspace = make_workspace()
    put(workspace, "KEY", "value")
    sealed = bytes(WorkspaceSecret.objects.get().encrypted_value)
    WorkspaceSecret.objects.update(encrypted_value=damage(sealed))
    with pytest.raises(SecretsBroken):
        store.environment_for(workspace.id, actor="test")


def test_every_access_to_a_secret_is_logged(
    as_administrator: APIClient, make_workspace: Make, as_workspace: As
) -> None:
    workspace = make_workspace()
    path = f"/workspaces/{workspace.id}/secrets"
    as_administrator.post(path, {"key": "A", "value": CANARY})
    as_workspace(workspace).get(f"{path}/values")
    as_administrator.delete(f"{path}/A")
    records = SecretAccess.objects.order_by("id")
    assert [(r.action, r.keys, r.workspace_id) for r in records] == [
        (action, ["A"], workspace.id) for action in ("set", "read", "deleted")
    ]
    assert records[0].actor.startswith("operator:administrator")
    assert records[1].actor == f"workspace:{workspace.id}"


def test_rotation_seals_again_and_resumes_where_it_stopped(make_workspace: Make, settings: Any) -> None:
    settings.SECRETS_ENCRYPTION_KEY = OLD
    workspace = make_workspace()
    put(workspace, "A", "1")
    store.set_for_all("B", "2", actor="test")
    settings.SECRETS_ENCRYPTION_KEY = NEW
    with pytest.raises(SecretsBroken):
        store.environment_for(workspace.id, actor="test")
    with pytest.raises(CommandError, match="cannot be decrypted:\n  A of workspace"):
        rotate()
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    assert rotate("--dry-run") == "2 secrets would be sealed again"
    put(workspace, "C", "3")
    assert rotate() == "2 secrets sealed again"
    assert rotate() == "0 secrets sealed again"
    settings.SECRETS_ENCRYPTION_KEY = NEW
    assert store.environment_for(workspace.id, actor="test") == {"A": "1", "B": "2", "C": "3"}


def rotate(*options: str) -> str:
    out = io.StringIO()
    call_command("rotate_secrets", *options, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


@pytest.mark.django_db(transaction=True)
def test_reads_continue_during_a_rotation(make_workspace: Make, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "ROTATION_BATCH", 3)
    settings.SECRETS_ENCRYPTION_KEY = OLD
    workspace = make_workspace()
    wanted = {f"KEY_{number}": str(number) for number in range(30)}
    for key, value in wanted.items():
        put(workspace, key, value)
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    done = threading.Event()
    seen: list[bool] = []
    failures: list[Exception] = []

    def read() -> None:
        try:
            while not done.is_set() or not seen:
                seen.append(store.environment_for(workspace.id, actor="test") == wanted)
        except Exception as error:  # any error is a failed read
            failures.append(error)
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    rotate()
    done.set()
    reader.join(20)
    assert failures == []
    assert all(seen)


def test_known_values_are_masked_in_what_agents_report(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    put(workspace, "KEY", CANARY)
    store.set_for_all("LONGER", CANARY + "-and-more", actor="test")
    put(workspace, "SHORT", "abc")
    report = {
        "activity_type": "a2a_send",
        "summary": f"used {CANARY}-and-more and abc",
        "error_detail": CANARY,
        "request_body": {"deep": [{CANARY: f"x{CANARY}y"}], "n": 1},
    }
    agent = as_workspace(workspace)
    agent.post(f"/workspaces/{workspace.id}/activity", report)
    row = ActivityLog.objects.get()
    assert row.summary == "used [secret LONGER] and abc"
    assert row.error_detail == "[secret KEY]"
    assert row.request_body == {"deep": [{"[secret KEY]": "x[secret KEY]y"}], "n": 1}
    put(workspace, "KEY", "changed-secret")
    agent.post(f"/workspaces/{workspace.id}/notify", {"message": "it is changed-secret"})
    assert ActivityLog.objects.latest("created_at").response_body == {"result": "it is [secret KEY]"}


def test_a_report_is_written_although_no_secret_can_be_opened(make_workspace: Make, settings: Any) -> None:
    workspace = make_workspace()
    put(workspace, "KEY", CANARY)
    settings.SECRETS_ENCRYPTION_KEY = NEW
    reports.report(workspace.id, [Entry(activity_type="error", summary="still here")])
    assert ActivityLog.objects.get().summary == "still here"
    with pytest.raises(SecretsBroken):
        store.environment_for(workspace.id, actor="test")
    settings.SECRETS_ENCRYPTION_KEY = ""
    with pytest.raises(SecretsUnavailable):
        store.environment_for(workspace.id, actor="test")


def masked(workspace_id: UUID, summary: str) -> str | None:
    [(_, entry)] = masking.mask([(workspace_id, Entry(activity_type="agent_log", summary=summary))])
    return entry.summary


def test_a_value_that_does_not_open_is_logged_once_and_the_others_are_masked(
    make_workspace: Make, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = make_workspace()
    put(workspace, "BROKEN", "broken-secret")
    WorkspaceSecret.objects.update(encrypted_value=b"nothing")
    put(workspace, "KEY", CANARY)
    store.set_for_all("SHARED", "shared-secret", actor="test")
    for _ in range(2):
        assert masked(workspace.id, f"{CANARY} shared-secret") == "[secret KEY] [secret SHARED]"
    (line,) = caplog.records
    assert f"workspace_secrets:{workspace.id}:BROKEN" in line.getMessage()
    assert CANARY not in repr(masking.KNOWN.kept)


def test_known_secrets_are_not_read_again_however_many_workspaces_report(make_workspace: Make) -> None:
    """The query of versions does not use the ORM and is not counted here."""
    store.set_for_all("SHARED", "shared-secret", actor="test")
    owners = [make_workspace() for _ in range(3)]
    for number, owner in enumerate(owners):
        put(owner, "OWN", f"own-secret-{number}")
    entry = Entry(activity_type="agent_log", summary="own-secret-1 shared-secret")
    reported = [(i, entry) for i in [*(owner.id for owner in owners), *(uuid4() for _ in range(2000))]]
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            told = [entry.summary for _, entry in masking.mask(reported)]
        assert told[:3] == [f"{word} [secret SHARED]" for word in ("own-secret-1", "[secret OWN]", "own-secret-1")]
        assert set(told[3:]) == {"own-secret-1 [secret SHARED]"}
        counts.append(len(queries))
    assert counts == [2, 0], "one for global secrets, one for all workspaces with their own"


@pytest.mark.django_db(transaction=True)
def test_a_value_that_commits_late_is_masked() -> None:
    """It was set before another one and is committed after it, so no timestamp would reveal the change."""
    me = uuid4()
    store.set_for_all("LATE", "old-value", actor="test")
    with transaction.atomic():
        store.set_for_all("LATE", "late-value", actor="test")
        with another_connection():
            store.set_for_all("PROMPT", "prompt-value", actor="test")
            assert masked(me, "old-value prompt-value") == "[secret LATE] [secret PROMPT]"
    assert masked(me, "late-value prompt-value") == "[secret LATE] [secret PROMPT]"


def test_a_secret_value_appears_nowhere_else(
    as_administrator: APIClient,
    make_workspace: Make,
    as_workspace: As,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not in any table, log or answer except to its owner, also when storing it fails with DEBUG on."""
    caplog.set_level(logging.DEBUG)
    settings.DEBUG = True
    workspace = make_workspace()
    agent, path = as_workspace(workspace), f"/workspaces/{workspace.id}/secrets"
    answers = [as_administrator.post(path, {"key": "KEY", "value": CANARY})]
    agent.get(f"{path}/values")
    agent.post(f"/workspaces/{workspace.id}/activity", {"activity_type": "error", "summary": CANARY})
    monkeypatch.setattr(store, "note", _fail)
    answers.append(as_administrator.post(path, {"key": "KEY", "value": CANARY}))
    assert answers[-1].status_code == 500
    for read in (path, "/events", "/activity", "/workspaces", f"/workspaces/{workspace.id}"):
        answers.append(as_administrator.get(read))
    assert all(CANARY not in answer.content.decode() for answer in answers)
    assert CANARY not in caplog.text
    assert StructureEvent.objects.exists()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{CANARY}%"])
            assert cursor.fetchone() == (0,), table


def _fail(*arguments: object) -> None:
    raise RuntimeError("no room for the record")


def test_the_model_route_names_its_source_and_reveals_no_secret(
    as_administrator: APIClient, make_workspace: Make
) -> None:
    assigned, by_secret, neither = make_workspace(model="m"), make_workspace(), make_workspace()
    put(by_secret, "MODEL_PROVIDER", CANARY)
    answers = [as_administrator.get(f"/workspaces/{w.id}/model").json() for w in (assigned, by_secret, neither)]
    assert answers == [
        {"model": "m", "source": "agent"},
        {"model": "", "source": "workspace_secrets"},
        {"model": "", "source": "default"},
    ]
