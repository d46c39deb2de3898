"""Tokens in the admin: shown once, revoked by who may, everybody sees their own."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.exceptions import BadCredential
from registry.identity import tokens
from registry.models import OperatorToken, SecretAccess, Workspace, WorkspaceToken
from registry.secrets import store

ISSUE = "admin:registry_operatortoken_issue"
OPERATOR_TOKENS = "admin:registry_operatortoken_changelist"
WORKSPACE_TOKENS = "admin:registry_workspacetoken_changelist"


@pytest.fixture
def signed_in(make_user: Callable[..., User]) -> Callable[[str], tuple[Client, User]]:
    def sign_in(group: str) -> tuple[Client, User]:
        user = make_user("stranger")
        user.groups.add(user.groups.model.objects.get(name=group))
        client = Client()
        client.force_login(user)
        return client, user

    return sign_in


def revoke(client: Client, url: str, token: Any) -> Any:
    form = {"action": "revoke", "_selected_action": [str(token.pk)]}
    return client.post(reverse(url), form, follow=True)


@pytest.mark.parametrize("group", ["viewers", "operators", "administrators"])
def test_everybody_makes_a_token_of_their_own(signed_in: Callable[[str], tuple[Client, User]], group: str) -> None:
    client, user = signed_in(group)
    assert client.get(reverse(ISSUE)).status_code == 405
    page = client.post(reverse(ISSUE)).content.decode()
    (text,) = re.findall(r"mol_op_[\w-]+", page)
    assert tokens.principal_for_token(text)[0] == user
    listed = client.get(reverse(OPERATOR_TOKENS)).content.decode()
    token = OperatorToken.objects.get()
    assert token.prefix in listed
    assert text not in listed
    assert "1 revoked" in revoke(client, OPERATOR_TOKENS, token).content.decode()
    with pytest.raises(BadCredential):
        tokens.principal_for_token(text)


def test_other_peoples_tokens_are_for_administrators(signed_in: Callable[[str], tuple[Client, User]]) -> None:
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


def test_who_touched_which_secret_is_shown(
    signed_in: Callable[[str], tuple[Client, User]], make_workspace: Callable[..., Workspace]
) -> None:
    store.set_for_workspace(make_workspace("Vault").id, "API_KEY", "canary-value", actor="operator:ada")
    url = reverse("admin:registry_secretaccess_changelist")
    page = signed_in("administrators")[0].get(url).content.decode()
    assert all(word in page for word in ("operator:ada", "API_KEY", "Vault"))
    assert "canary-value" not in page
    assert signed_in("viewers")[0].get(url).status_code == 403
    assert SecretAccess.objects.count() == 1
