"""Secrets are stored and never shown."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from registry.admin.forms import KEY_EXISTS
from registry.admin.widgets import NO_SUCH_WORKSPACE
from registry.exceptions import SecretsUnavailable
from registry.models import GlobalSecret, Workspace, WorkspaceSecret, WorkspaceToken
from registry.organisation import removal
from registry.secrets import store
from tests.registry.admin.pages import CANARY, Make, change_url, shown_messages


def test_a_secret_is_encrypted_and_never_shown(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Holder")
    form = {"workspace": str(workspace.id), "key": "API_KEY", "value": CANARY}
    added = root.post(reverse("admin:registry_workspacesecret_add"), form, follow=True)
    secret = WorkspaceSecret.objects.get()
    sealed = bytes(secret.encrypted_value)
    assert store.keyring().unseal(sealed, context=secret.context()) == CANARY.encode()
    root.post(change_url(secret), {"value": f"{CANARY}-2"})
    history = reverse("admin:registry_workspacesecret_history", args=[secret.pk])
    urls = [reverse("admin:registry_workspacesecret_changelist"), change_url(secret), history, change_url(workspace)]
    pages = [added.content.decode()] + [root.get(url).content.decode() for url in [*urls, reverse("admin:index")]]
    told = " ".join([*pages, *(f"{e.object_repr} {e.change_message}" for e in LogEntry.objects.all())])
    assert LogEntry.objects.count() == 2
    secret.refresh_from_db()
    for hidden in (sealed, bytes(secret.encrypted_value)):
        assert hidden.hex() not in told
        assert repr(hidden)[2:-1] not in told
    assert CANARY not in told
    assert "encrypted" not in told


def test_a_refused_value_is_not_shown_again(root: Client, db: None) -> None:
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "not valid", "value": CANARY})
    assert list(answer.context["adminform"].form.errors) == ["key"]
    assert CANARY not in answer.content.decode()


def test_a_reserved_key_is_refused(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    body = {"key": "AGENT_URL", "value": CANARY}
    answer = root.post(reverse("admin:registry_workspacesecret_add"), body | {"workspace": str(one.id)})
    assert list(answer.context["adminform"].form.errors) == ["key"]
    assert not WorkspaceSecret.objects.exists()


def test_replacing_a_secret_keeps_its_key(root: Client, db: None) -> None:
    store.set_for_all("OLD", "before", actor="test")
    secret = GlobalSecret.objects.get()
    root.post(change_url(secret), {"key": "NEW", "value": "after"})
    secret.refresh_from_db()
    opened = store.keyring().unseal(bytes(secret.encrypted_value), context=secret.context())
    assert (secret.key, opened) == ("OLD", b"after")


def test_a_key_that_a_workspace_has_is_refused_with_what_to_do(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    store.set_for_workspace(one.id, "KEY", "before", actor="test")
    form = {"workspace": str(one.id), "key": "KEY", "value": "after"}
    answer = root.post(reverse("admin:registry_workspacesecret_add"), form)
    assert answer.context["adminform"].form.non_field_errors() == [KEY_EXISTS]
    assert 'value="KEY"' in answer.content.decode()


def test_a_secret_for_a_removed_workspace_is_refused(root: Client, make_workspace: Make) -> None:
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor="test", confirm=True)
    form = {"workspace": str(gone.id), "key": "KEY", "value": "x"}
    answer = root.post(reverse("admin:registry_workspacesecret_add"), form)
    assert answer.context["adminform"].form.errors == {"workspace": [NO_SUCH_WORKSPACE]}


def test_a_key_that_exists_is_not_overwritten_by_adding(root: Client, db: None) -> None:
    store.set_for_all("KEY", "before", actor="test")
    sealed = bytes(GlobalSecret.objects.get().encrypted_value)
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": "after"})
    assert answer.context["adminform"].form.errors == {"key": [KEY_EXISTS]}
    assert bytes(GlobalSecret.objects.get().encrypted_value) == sealed


@pytest.mark.parametrize("value", ["", "a\x00b", "é" * (32 * 1024) + "x"])
def test_values_out_of_bounds_are_form_errors(root: Client, db: None, value: str) -> None:
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": value})
    assert list(answer.context["adminform"].form.errors) == ["value"]
    assert not GlobalSecret.objects.exists()


@pytest.mark.parametrize("value", [" ", "x" * 64 * 1024])
def test_values_at_the_bounds_are_kept_as_they_are(root: Client, db: None, value: str) -> None:
    root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": value})
    secret = GlobalSecret.objects.get()
    assert store.keyring().unseal(bytes(secret.encrypted_value), context=secret.context()) == value.encode()


@pytest.mark.parametrize("key", ["", "too-short"])
def test_without_a_usable_key_nothing_is_stored(root: Client, make_workspace: Make, settings: Any, key: str) -> None:
    settings.SECRETS_ENCRYPTION_KEY = key
    with pytest.raises(SecretsUnavailable) as refusal:
        store.keyring()
    form = {"workspace": str(make_workspace("Holder").id), "key": "KEY", "value": CANARY}
    for name in ("workspacesecret", "globalsecret"):
        answer = root.post(reverse(f"admin:registry_{name}_add"), form)
        assert answer.context["adminform"].form.non_field_errors() == [refusal.value.message]
        assert CANARY not in answer.content.decode()
    assert not WorkspaceSecret.objects.exists()
    assert not GlobalSecret.objects.exists()
    assert not LogEntry.objects.exists()


def test_secrets_are_deleted_one_by_one_and_in_bulk(root: Client, furnished: Workspace) -> None:
    own, common = WorkspaceSecret.objects.get(), GlobalSecret.objects.get()
    url = reverse("admin:registry_workspacesecret_delete", args=[own.pk])
    root.post(url, {"post": "yes", "seen": root.get(url).context["seen"]})
    store.set_for_all("OTHER", CANARY, actor="test")
    chosen = {"action": "delete_selected", "_selected_action": [str(one.pk) for one in GlobalSecret.objects.all()]}
    listing = reverse("admin:registry_globalsecret_changelist")
    seen = root.post(listing, chosen).context["seen"]
    store.delete_for_all("OTHER", actor="test")
    again = root.post(listing, chosen | {"post": "yes", "seen": seen})
    assert GlobalSecret.objects.get() == common, "the list had changed, so it is asked again"
    done = root.post(listing, chosen | {"post": "yes", "seen": again.context["seen"]}, follow=True)
    assert "Deleted: API_KEY." in shown_messages(done)
    assert not WorkspaceSecret.objects.exists()
    assert not GlobalSecret.objects.exists()


def test_token_hashes_are_not_shown(root: Client, furnished: Workspace) -> None:
    token = WorkspaceToken.objects.first()
    assert token is not None
    for url in (reverse("admin:registry_workspacetoken_changelist"), change_url(token)):
        page = root.get(url).content.decode()
        assert token.prefix in page
        assert bytes(token.hash).hex() not in page
        assert repr(bytes(token.hash))[2:-1] not in page


def opened(secret: GlobalSecret) -> bytes:
    return store.keyring().unseal(bytes(secret.encrypted_value), context=secret.context())


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----\r\n", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"),
        ("sk-token\r\n", "sk-token"),
        ("  padded  ", "  padded  "),
        ("a\n\n", "a\n\n"),
    ],
)
def test_line_breaks_are_kept_except_one_after_a_single_line(root: Client, db: None, sent: str, kept: str) -> None:
    root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": sent})
    assert opened(GlobalSecret.objects.get()).decode() == kept


def test_a_line_break_alone_is_refused(root: Client, db: None) -> None:
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": "\r\n"})
    assert list(answer.context["adminform"].form.errors) == ["value"]


def test_the_field_takes_several_lines_and_shows_no_value(root: Client, db: None) -> None:
    page = root.post(reverse("admin:registry_globalsecret_add"), {"key": "not valid", "value": CANARY}).content.decode()
    field = re.search(r"<textarea[^>]*>([^<]*)</textarea>", page)
    assert field is not None
    assert field[1].strip() == ""
    assert 'autocomplete="off"' in field[0]
