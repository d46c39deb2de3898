"""A rotation continues after a secret that does not open, locks rows, and says when a key may be removed."""

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from registry.exceptions import SecretsBroken
from registry.models import GlobalSecret, Workspace, WorkspaceSecret
from registry.secrets import rotation, store
from registry.secrets.sealing import Keyring
from tests.e2e.stack import until
from tests.registry.racing import waiting

Make = Callable[..., Workspace]
OLD, NEW, LOST = "ab" * 32, "cd" * 32, "ef" * 32


def run(*options: str) -> str:
    out = io.StringIO()
    call_command("rotate_secrets", *options, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def put(workspace: Workspace, key: str, value: str) -> None:
    store.set_for_workspace(workspace.id, key, value, actor="test")


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_it_goes_on_after_a_secret_that_does_not_open_and_lists_all_of_them(
    make_workspace: Make, settings: Any, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(rotation, "ROTATION_BATCH", batch)
    one, two = make_workspace(), make_workspace()
    settings.SECRETS_ENCRYPTION_KEY = LOST
    put(one, "BROKEN", "canary-value")
    store.set_for_all("BROKEN_TOO", "canary-value", actor="test")
    settings.SECRETS_ENCRYPTION_KEY = OLD
    for number in range(3):
        put(one, f"KEY_{number}", str(number))
        put(two, f"KEY_{number}", str(number))
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    for _ in range(2):
        with pytest.raises(CommandError) as failure:
            run()
        told = str(failure.value)
        assert told.splitlines() == [
            "2 secrets cannot be decrypted:",
            *sorted([f"  BROKEN of workspace {one.id}", "  BROKEN_TOO of all workspaces"]),
        ]
        assert failure.value.returncode != 0
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW}"
    WorkspaceSecret.objects.filter(key="BROKEN").delete()
    GlobalSecret.objects.all().delete()
    for each in (one, two):
        assert store.environment_for(each.id, actor="test") == {f"KEY_{number}": str(number) for number in range(3)}
    assert run("--check") == ""


def test_a_process_that_has_the_old_key_first_seals_with_it_after_a_rotation(
    make_workspace: Make, settings: Any
) -> None:
    """Dropping that key would lose the secret: the check names it, and another rotation mends it."""
    workspace = make_workspace()
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    assert run() == "0 secrets sealed again"
    settings.SECRETS_ENCRYPTION_KEY = f"{OLD},{NEW}"
    put(workspace, "LATE", "value")
    settings.SECRETS_ENCRYPTION_KEY = NEW
    with pytest.raises(SecretsBroken):
        store.environment_for(workspace.id, actor="test")
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    with pytest.raises(CommandError, match=f"keep that key:\n  LATE of workspace {workspace.id}"):
        run("--check")
    assert run() == "1 secrets sealed again"
    assert run("--check") == ""
    settings.SECRETS_ENCRYPTION_KEY = NEW
    assert store.environment_for(workspace.id, actor="test") == {"LATE": "value"}


def test_a_rotation_says_what_was_sealed_with_the_old_key_meanwhile(
    make_workspace: Make, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    settings.SECRETS_ENCRYPTION_KEY = OLD
    put(workspace, "EARLY", "value")
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    rotate = rotation.rotate

    def overtaken(**arguments: Any) -> rotation.Rotation:
        done = rotate(**arguments)
        settings.SECRETS_ENCRYPTION_KEY = f"{OLD},{NEW}"
        put(workspace, "LATE", "value")
        settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
        return done

    monkeypatch.setattr(rotation, "rotate", overtaken)
    with pytest.raises(CommandError, match=f"another key first.*\n  LATE of workspace {workspace.id}"):
        run()


@pytest.mark.django_db(transaction=True)
def test_a_value_that_is_set_during_a_rotation_is_not_replaced_by_the_older_one(
    make_workspace: Make, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rotation has read the old value when another process sets a new one: that one waits for its row lock."""
    workspace = make_workspace()
    settings.SECRETS_ENCRYPTION_KEY = OLD
    put(workspace, "KEY", "old")
    settings.SECRETS_ENCRYPTION_KEY = f"{NEW},{OLD}"
    done = threading.Event()

    def set_new_value() -> None:
        try:
            put(workspace, "KEY", "new")
        finally:
            done.set()
            connection.close()

    setter = threading.Thread(target=set_new_value)
    unseal = Keyring.unseal

    def unseal_then_wait(self: Keyring, envelope: bytes, *, context: str) -> bytes:
        value = unseal(self, envelope, context=context)
        setter.start()
        until(lambda: done.is_set() or waiting(), "the other process to wait, or to be done")
        return value

    monkeypatch.setattr(Keyring, "unseal", unseal_then_wait)
    assert run() == "1 secrets sealed again"
    monkeypatch.setattr(Keyring, "unseal", unseal)
    setter.join(20)
    assert store.environment_for(workspace.id, actor="test") == {"KEY": "new"}
