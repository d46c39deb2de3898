"""Tokens are stored as hashes and authenticate exactly what they were issued for."""

from collections.abc import Callable
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.utils import timezone

from activity import bus
from activity.principals import Kind, Level
from registry.exceptions import BadCredential
from registry.identity import enrolment, tokens
from registry.models import OperatorToken, Workspace, WorkspaceToken
from registry.organisation import removal
from tests.registry.racing import another_connection

Make = Callable[..., Workspace]


def test_a_token_authenticates_its_workspace_and_is_stored_only_as_a_hash(make_workspace: Make) -> None:
    workspace = make_workspace()
    text = tokens.issue_workspace_token(workspace.id).text
    _user, principal = tokens.principal_for_token(text)
    assert (principal.kind, principal.workspace_id, principal.level) == (Kind.WORKSPACE, workspace.id, Level.NONE)
    row = WorkspaceToken.objects.get()
    secret = text.rpartition("_")[2]
    assert row.prefix == text.rpartition("_")[0]
    assert secret.encode() not in bytes(row.hash)
    assert secret not in row.prefix


def test_a_token_is_not_accepted_as_another_type(make_workspace: Make, make_user: Callable[..., User]) -> None:
    """The same secret with another type's prefix is unknown."""
    workspace = make_workspace()
    texts = [
        tokens.issue_workspace_token(workspace.id).text,
        enrolment.issue(workspace.id).token,
        tokens.issue_operator_token(make_user()),
    ]
    for text in texts:
        tokens.principal_for_token(text)
        for typed in tokens.TYPES:
            if not text.startswith(typed):
                with pytest.raises(BadCredential):
                    tokens.principal_for_token(typed + text[len(typed) :])


def test_changed_tokens_are_refused(make_workspace: Make) -> None:
    text = tokens.issue_workspace_token(make_workspace().id).text
    flipped = text[:-1] + ("A" if text[-1] != "A" else "B")
    for wrong in ("", "x", "_", "__", "mol_ws", "mol_ws_", "mol_ws__", text[:-1], text + "x", flipped, text.upper()):
        with pytest.raises(BadCredential):
            tokens.principal_for_token(wrong)


def test_expired_and_revoked_tokens_are_refused(make_workspace: Make, make_user: Callable[..., User]) -> None:
    workspace_token = tokens.issue_workspace_token(make_workspace().id).text
    operator_token = tokens.issue_operator_token(make_user())
    for change in ({"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}):
        for model, text in ((WorkspaceToken, workspace_token), (OperatorToken, operator_token)):
            model.objects.update(revoked_at=None, expires_at=None)
            tokens.principal_for_token(text)
            model.objects.update(**change)
            with pytest.raises(BadCredential):
                tokens.principal_for_token(text)


def test_the_token_of_an_inactive_operator_is_refused(make_user: Callable[..., User]) -> None:
    user = make_user()
    text = tokens.issue_operator_token(user)
    User.objects.update(is_active=False)
    with pytest.raises(BadCredential):
        tokens.principal_for_token(text)


def test_the_token_of_a_removed_workspace_is_retired(make_workspace: Make) -> None:
    workspace = make_workspace()
    text = tokens.issue_workspace_token(workspace.id).text
    removal.remove(workspace.id, actor="test", confirm=True)
    assert tokens.principal_for_token(text)[1].retired
    assert not tokens.has_live_token(workspace.id)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("ungrouped", Level.NONE),
        ("viewer", Level.VIEW),
        ("operator", Level.ACT),
        ("administrator", Level.ADMINISTER),
    ],
)
def test_levels_follow_from_permissions(make_user: Callable[..., User], kind: str, level: Level) -> None:
    assert tokens.principal_for_user(make_user(kind)).level == level


def test_an_anonymous_user_has_no_level(db: None) -> None:
    assert tokens.principal_for_user(AnonymousUser()).level == Level.NONE


def test_last_used_at_is_not_written_with_every_request(make_workspace: Make, django_assert_num_queries: Any) -> None:
    text = tokens.issue_workspace_token(make_workspace().id).text
    tokens.principal_for_token(text)
    first = WorkspaceToken.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        tokens.principal_for_token(text)
    assert WorkspaceToken.objects.get().last_used_at == first


@pytest.mark.django_db(transaction=True)
def test_marking_tokens_as_used_waits_for_no_lock(make_workspace: Make) -> None:
    """A revocation locks a token and then waits for the log, which a batch of heartbeats may hold: a deadlock."""
    workspace = make_workspace()
    ids = [tokens.issue_workspace_token(workspace.id).id for _ in range(3)]
    with transaction.atomic():
        tokens.revoke_token(workspace.id, ids[1])
        with another_connection(), connection.cursor() as cursor, transaction.atomic():
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            tokens.mark_used(ids)
    used = WorkspaceToken.objects.exclude(last_used_at=None)
    assert set(used.values_list("id", flat=True)) == {ids[0], ids[2]}


@pytest.mark.django_db(transaction=True)
def test_every_end_of_a_token_closes_its_sockets_after_the_commit(
    make_workspace: Make, make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Immediately, not only at the next periodic check."""
    workspace = make_workspace()
    one, two = (tokens.issue_workspace_token(workspace.id) for _ in range(2))
    tokens.issue_operator_token(make_user())
    operator = OperatorToken.objects.get()
    closed: list[list[str]] = []
    monkeypatch.setattr(bus, "close_streams", closed.append)
    tokens.revoke_token(workspace.id, one.id)
    tokens.revoke_operator_token(operator.id)
    removal.remove(workspace.id, actor="test", confirm=True)
    assert closed == [[str(token)] for token in (one.id, operator.id, two.id)]


GRANTS = ["view_workspace", "change_workspace", "change_workspacesecret"]
HELD = [names for size in range(4) for names in combinations(GRANTS, size)]


def permission(name: str) -> Permission:
    return Permission.objects.get(codename=name, content_type__app_label="registry")


def through_django(user: User) -> Level:
    """The level by Django's own permission checks."""
    fresh = User.objects.get(pk=user.pk)
    granted = [level for level, name in zip(Level, [None, *GRANTS], strict=True) if name and has(fresh, name)]
    return max(granted, default=Level.NONE)


def has(user: User, name: str) -> bool:
    return user.has_perm(f"registry.{name}")


@pytest.mark.parametrize(
    "flags",
    [{}, {"is_superuser": True}, {"is_active": False}, {"is_active": False, "is_superuser": True}],
    ids=str,
)
@pytest.mark.parametrize("held", HELD, ids=str)
@pytest.mark.parametrize("by_group", [False, True])
def test_a_level_agrees_with_djangos_permission_checks(
    db: None, flags: dict[str, bool], held: tuple[str, ...], by_group: bool
) -> None:
    user = User.objects.create(username="ada", **flags)
    group, elsewhere = Group.objects.create(name="a"), ContentType.objects.get_for_model(User)
    user.groups.add(group, Group.objects.create(name="b"))
    same_name = Permission.objects.create(codename="change_workspacesecret", content_type=elsewhere, name="not ours")
    user.user_permissions.add(same_name)
    granted = [permission(name) for name in held]
    (group.permissions if by_group else user.user_permissions).add(*granted)
    assert tokens.principal_for_user(user).level == through_django(user)
    text = tokens.issue_operator_token(user)
    if flags.get("is_active", True):
        assert tokens.principal_for_token(text)[1].level == through_django(user)
        user.user_permissions.clear()
        group.permissions.clear()
        assert tokens.principal_for_token(text)[1].level == through_django(user)


def test_an_operator_is_authenticated_in_one_query(
    make_user: Callable[..., User], django_assert_num_queries: Any
) -> None:
    user = make_user()
    text = tokens.issue_operator_token(user)
    tokens.principal_for_token(text)
    with django_assert_num_queries(1):
        tokens.principal_for_token(text)
    with django_assert_num_queries(1):
        tokens.principal_for_user(user)
