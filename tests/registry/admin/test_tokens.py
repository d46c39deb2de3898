"""Tokens in the admin: shown once, found, and revoked with confirmation; every user sees their own."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from registry.admin import one_time_secrets
from registry.exceptions import BadCredential
from registry.identity import enrolment, tokens
from registry.models import OperatorToken, SecretAccess, Workspace, WorkspaceToken
from registry.secrets import store
from tests.registry.admin.pages import Make, shown_messages

ISSUE = "admin:registry_operatortoken_issue"
OPERATOR_TOKENS = "admin:registry_operatortoken_changelist"
WORKSPACE_TOKENS = "admin:registry_workspacetoken_changelist"


@pytest.fixture
def signed_in(make_user: Callable[..., User]) -> Callable[[str], tuple[Client, User]]:
    def sign_in(group: str) -> tuple[Client, User]:
        user = make_user("ungrouped")
        user.groups.add(user.groups.model.objects.get(name=group))
        client = Client()
        client.force_login(user)
        return client, user

    return sign_in


def revoke(client: Client, url: str, token: Any) -> Any:
    form = {"action": "revoke", "confirmed": "yes", "_selected_action": [str(token.pk)]}
    return client.post(reverse(url), form, follow=True)


@pytest.mark.parametrize("group", ["viewers", "operators", "administrators"])
def test_every_user_issues_and_revokes_their_own_token(
    signed_in: Callable[[str], tuple[Client, User]], group: str
) -> None:
    client, user = signed_in(group)
    assert "mol_op_" not in client.get(reverse(ISSUE)).content.decode()
    page = client.post(reverse(ISSUE), follow=True).content.decode()
    (text,) = re.findall(r"mol_op_[\w-]+", page)
    assert tokens.principal_for_token(text)[0] == user
    listed = client.get(reverse(OPERATOR_TOKENS)).content.decode()
    token = OperatorToken.objects.get()
    assert token.prefix in listed
    assert text not in listed
    assert "Revoked 1 token." in revoke(client, OPERATOR_TOKENS, token).content.decode()
    with pytest.raises(BadCredential):
        tokens.principal_for_token(text)


def test_only_administrators_see_tokens_of_others(signed_in: Callable[[str], tuple[Client, User]]) -> None:
    viewer, _user = signed_in("viewers")
    administrator, boss = signed_in("administrators")
    tokens.issue_operator_token(boss)
    token = OperatorToken.objects.get()
    assert token.prefix not in viewer.get(reverse(OPERATOR_TOKENS)).content.decode()
    revoke(viewer, OPERATOR_TOKENS, token)
    token.refresh_from_db()
    assert token.revoked_at is None
    assert token.prefix in administrator.get(reverse(OPERATOR_TOKENS)).content.decode()


def test_workspace_tokens_are_revoked_by_administrators_only(
    signed_in: Callable[[str], tuple[Client, User]], make_workspace: Callable[..., Workspace]
) -> None:
    tokens.issue_workspace_token(make_workspace().id)
    token = WorkspaceToken.objects.get()
    revoke(signed_in("operators")[0], WORKSPACE_TOKENS, token)
    token.refresh_from_db()
    assert token.revoked_at is None
    revoke(signed_in("administrators")[0], WORKSPACE_TOKENS, token)
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_the_secret_access_log_shows_actor_keys_and_workspace(
    signed_in: Callable[[str], tuple[Client, User]], make_workspace: Callable[..., Workspace]
) -> None:
    store.set_for_workspace(make_workspace("Vault").id, "API_KEY", "canary-value", actor="operator:ada")
    url = reverse("admin:registry_secretaccess_changelist")
    page = signed_in("administrators")[0].get(url).content.decode()
    assert all(word in page for word in ("ada", "API_KEY", "Vault"))
    assert "operator:ada" not in page
    assert "canary-value" not in page
    assert signed_in("viewers")[0].get(url).status_code == 403
    assert SecretAccess.objects.count() == 1


def test_a_new_token_is_encrypted_in_the_session_and_shown_once(root: Client) -> None:
    assert root.post(reverse(ISSUE)).status_code == 302
    stored = Session.objects.get()
    (token,) = re.findall(r"mol_op_[\w-]+", root.get(reverse(ISSUE)).content.decode())
    secret = token.rpartition("_")[2]
    assert secret not in stored.session_data
    assert secret not in str(stored.get_decoded())
    assert "mol_op_" not in root.get(reverse(ISSUE)).content.decode()
    assert OperatorToken.objects.count() == 1


def test_a_waiting_token_opens_for_its_user_and_in_time_only(
    root: Client, django_user_model: type[User], make_workspace: Callable[..., Workspace]
) -> None:
    def shown(waiting: Any) -> bool:
        session = root.session
        session[one_time_secrets.SESSION_KEY] = waiting
        session.save()
        return "mol_op_" in root.get(reverse(ISSUE)).content.decode()

    root.post(reverse(ISSUE))
    waiting = root.session[one_time_secrets.SESSION_KEY]
    ((name, (expires_at, sealed)),) = waiting.items()
    assert not shown({name: [expires_at + 3600, sealed]})
    assert not shown({name: [1, sealed]})
    assert shown(waiting)
    root.force_login(django_user_model.objects.create_superuser("eve", "", "x"))
    assert not shown(waiting)


def test_tokens_are_found_by_prefix_owner_and_id(root: Client, make_workspace: Callable[..., Workspace]) -> None:
    scout, other = make_workspace("Web Scout"), make_workspace("Other")
    for workspace in (scout, other):
        tokens.issue_workspace_token(workspace.id)
    token = WorkspaceToken.objects.get(workspace=scout)
    for text in (token.prefix, token.prefix[:12], "scout", str(scout.id), str(token.id)):
        found = root.get(reverse(WORKSPACE_TOKENS), {"q": text}).context["cl"].result_list
        assert list(found) == [token], text
    root.post(reverse(ISSUE))
    own = OperatorToken.objects.get()
    for text in (own.prefix, "ada", str(own.id)):
        assert list(root.get(reverse(OPERATOR_TOKENS), {"q": text}).context["cl"].result_list) == [own], text
    assert not root.get(reverse(OPERATOR_TOKENS), {"q": "eve"}).context["cl"].result_list


def test_revoking_says_what_stops_and_asks_first(root: Client, make_workspace: Callable[..., Workspace]) -> None:
    tokens.issue_workspace_token(make_workspace("Scout").id)
    token = WorkspaceToken.objects.get()
    asked = root.post(reverse(WORKSPACE_TOKENS), {"action": "revoke", "_selected_action": [str(token.pk)]})
    page = asked.content.decode()
    assert all(part in page for part in (token.prefix, "Scout", "can no longer send heartbeats", "Revoke 1 token"))
    token.refresh_from_db()
    assert token.revoked_at is None
    form = dict(re.findall(r'type="hidden" name="(action|confirmed|_selected_action)" value="([^"]+)"', page))
    done = root.post(reverse(WORKSPACE_TOKENS), form)
    assert done.status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_revoked_token_shows_when_it_was_revoked_and_no_expiry(root: Client, make_workspace: Make) -> None:
    enrolment.issue(make_workspace("One").id)
    url = reverse(WORKSPACE_TOKENS)
    assert "in 23 hours" in root.get(url).content.decode()
    WorkspaceToken.objects.update(revoked_at=timezone.now() - timedelta(hours=2))
    page = root.get(url).content.decode()
    assert ">2 h ago</time>" in page
    assert "in 23 hours" not in page


def test_revoking_is_repeatable_and_says_what_happened_to_each(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace()
    for _ in range(5):
        tokens.issue_workspace_token(workspace.id)
    five = list(WorkspaceToken.objects.all())
    tokens.revoke_token(workspace.id, five[0].id)
    form = {"action": "revoke", "confirmed": "yes", "_selected_action": [str(token.id) for token in five]}
    first = shown_messages(root.post(reverse(WORKSPACE_TOKENS), form, follow=True))
    assert first == [
        "Revoked 4 tokens. Connections opened with them are closed.",
        f"Already revoked: {five[0].prefix}.",
    ]
    again = shown_messages(root.post(reverse(WORKSPACE_TOKENS), form, follow=True))
    assert again == [f"Already revoked: {', '.join(token.prefix for token in ordered(five))}."]
    assert not WorkspaceToken.objects.filter(revoked_at=None).exists()


def ordered(listed: list[Any]) -> list[Any]:
    """As the list shows them."""
    return sorted(listed, key=lambda token: token.pk, reverse=True)


def test_seeing_tokens_of_others_does_not_allow_revoking_them(
    make_user: Callable[..., User], django_user_model: type[User]
) -> None:
    other, looking = make_user("operator"), make_user("ungrouped")
    looking.user_permissions.set(Permission.objects.filter(codename="view_operatortoken"))
    tokens.issue_operator_token(other)
    tokens.issue_operator_token(looking)
    client = Client()
    client.force_login(looking)
    form = {
        "action": "revoke",
        "confirmed": "yes",
        "_selected_action": [str(t.id) for t in OperatorToken.objects.all()],
    }
    answer = client.post(reverse(OPERATOR_TOKENS), form, follow=True)
    assert OperatorToken.objects.get(user=other).revoked_at is None
    assert OperatorToken.objects.get(user=looking).revoked_at is not None
    theirs = OperatorToken.objects.get(user=other).prefix
    assert f"Not revoked, because you may revoke only your own: {theirs}." in shown_messages(answer)
    looking.user_permissions.add(Permission.objects.get(codename="delete_operatortoken"))
    client.post(reverse(OPERATOR_TOKENS), form)
    assert OperatorToken.objects.get(user=other).revoked_at is not None


def test_an_expired_token_is_marked_in_the_list(root: Client, make_workspace: Make) -> None:
    enrolment.issue(make_workspace("One").id)
    url = reverse(WORKSPACE_TOKENS)
    assert "Active</span></td>" in root.get(url).content.decode()
    WorkspaceToken.objects.update(expires_at=timezone.now() - timedelta(hours=2))
    page = root.get(url).content.decode()
    assert "Expired</span></td>" in page
    assert "Active</span></td>" not in page
