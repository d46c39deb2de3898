"""Users and groups: users grant and revoke only permissions that they have themselves."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from registry.admin import users
from registry.exceptions import BadCredential
from registry.identity import tokens
from registry.models import OperatorToken
from registry.organisation import workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.secrets import store
from tests.registry.admin.pages import Make, change_url, last_event, settings_url, shown_messages
from tests.registry.admin.pages import form_of as form_of_workspace

USERS = "admin:auth_user_changelist"
AUDIT = "/admin/activity/structureevent/"
BEYOND = Permission.objects.filter(codename__in=["delete_group", "add_permission"])


@pytest.fixture
def administrator(db: None, client: Client) -> User:
    user = User.objects.create_user("boss", is_staff=True)
    user.groups.add(Group.objects.get(name="administrators"))
    client.force_login(user)
    return user


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    return {
        "username": user.username,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "is_active": "on" if user.is_active else "",
        "is_staff": "on" if user.is_staff else "",
        "groups": [group.pk for group in user.groups.all()],
        "user_permissions": [one.pk for one in user.user_permissions.all()],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "12:00:00",
    } | changes


def test_an_administrator_does_not_become_superuser(client: Client, administrator: User) -> None:
    client.post(change_url(administrator), form_of(administrator, is_superuser="on"))
    administrator.refresh_from_db()
    assert not administrator.is_superuser


@pytest.mark.parametrize("active", [True, False])
def test_an_administrator_changes_no_superuser(client: Client, administrator: User, active: bool) -> None:
    root = User.objects.create_superuser("root", "", "secret", is_active=active)
    password = reverse("admin:auth_user_password_change", args=[root.pk])
    form = {"password1": "Other-than-before-1", "password2": "Other-than-before-1", "usable_password": "true"}
    assert client.post(password, form).status_code == 403
    assert client.post(change_url(root), form_of(root, is_active="", username="eve")).status_code == 403
    assert client.post(reverse("admin:auth_user_delete", args=[root.pk]), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "post": "yes", "_selected_action": [root.pk]}
    client.post(reverse(USERS), chosen)
    root.refresh_from_db()
    assert (root.username, root.is_active, root.check_password("secret")) == ("root", active, True)


def test_an_administrator_does_not_change_a_user_with_more_permissions(client: Client, administrator: User) -> None:
    other = User.objects.create_user("other", password="secret")
    other.user_permissions.set(BEYOND)
    password = reverse("admin:auth_user_password_change", args=[other.pk])
    assert client.get(password).status_code == 403
    assert client.post(change_url(other), form_of(other)).status_code == 403
    other.user_permissions.clear()
    assert client.get(password).status_code == 200


@pytest.mark.parametrize("who", ["self", "other"])
def test_an_administrator_does_not_grant_a_permission_that_they_lack(
    client: Client, administrator: User, who: str
) -> None:
    user = administrator if who == "self" else User.objects.create_user("other")
    mighty = Group.objects.create(name="mighty")
    mighty.permissions.set(BEYOND)
    for changes in ({"user_permissions": [one.pk for one in BEYOND]}, {"groups": [mighty.pk]}):
        answer = client.post(change_url(user), form_of(user, **changes))
        assert answer.status_code == 200
        assert "you do not have" in answer.content.decode()
    assert not user.user_permissions.exists()
    assert mighty not in user.groups.all()


def test_an_administrator_grants_and_revokes_permissions_that_they_have(client: Client, administrator: User) -> None:
    user = User.objects.create_user("other")
    held = Permission.objects.get(codename="view_workspace")
    viewers = Group.objects.get(name="viewers")
    given = form_of(user, user_permissions=[held.pk], groups=[viewers.pk])
    assert client.post(change_url(user), given).status_code == 302
    assert (list(user.user_permissions.all()), list(user.groups.all())) == ([held], [viewers])
    assert client.post(change_url(user), form_of(user, user_permissions=[], groups=[])).status_code == 302
    assert not user.groups.exists()


def test_an_administrator_does_not_add_a_permission_that_they_lack_to_a_group(
    client: Client, administrator: User
) -> None:
    group = Group.objects.get(name="administrators")
    held = [one.pk for one in group.permissions.all()]
    form = {"name": group.name, "permissions": [*held, *(one.pk for one in BEYOND)]}
    assert "you do not have" in client.post(change_url(group), form).content.decode()
    assert group.permissions.count() == len(held)
    mighty = Group.objects.create(name="mighty")
    mighty.permissions.set(BEYOND)
    assert client.post(change_url(mighty), {"name": "weak", "permissions": []}).status_code == 403
    assert client.post(change_url(group), {"name": "bosses", "permissions": held}).status_code == 302


def test_a_superuser_may_do_all_of_it(root: Client, django_user_model: type[User]) -> None:
    user = django_user_model.objects.create_user("other")
    form = form_of(user, is_superuser="on", user_permissions=[one.pk for one in BEYOND])
    assert root.post(change_url(user), form).status_code == 302
    user.refresh_from_db()
    assert user.is_superuser
    assert user.user_permissions.count() == BEYOND.count()


def confirmed(client: Client, user: User) -> Any:
    """Deletes as the page does that asks."""
    url = reverse("admin:auth_user_delete", args=[user.pk])
    seen = client.get(url).context["seen"]
    return client.post(url, {"post": "yes", "seen": seen}, follow=True)


@pytest.mark.parametrize("did", ["an event", "an access"])
def test_a_user_ever_had_access_also_after_the_token_was_removed(make_user: Callable[..., User], did: str) -> None:
    user = make_user("operator")
    actor = tokens.principal_for_user(user).actor
    assert not users.ever_had_access(user)
    if did == "an event":
        workspaces.create(NewWorkspace(name="made with a token"), actor=actor)
    else:
        store.set_for_all("KEY", "value", actor=actor)
    assert users.ever_had_access(user)


def test_a_user_who_ever_had_access_is_deactivated(root: Client, django_user_model: type[User]) -> None:
    used, unused = django_user_model.objects.create_user("used"), django_user_model.objects.create_user("unused")
    text = tokens.issue_operator_token(used)
    LogEntry.objects.create(user=used, action_flag=2, object_repr="Something")
    assert shown_messages(confirmed(root, used)) == ["used was deactivated instead of deleted. Their history stays."]
    used.refresh_from_db()
    assert not used.is_active
    assert LogEntry.objects.filter(user=used).exists()
    assert OperatorToken.objects.get().revoked_at is not None
    with pytest.raises(BadCredential):
        tokens.principal_for_token(text)
    confirmed(root, unused)
    assert not django_user_model.objects.filter(username="unused").exists()


def test_users_are_deleted_in_bulk_by_the_same_rule(root: Client, django_user_model: type[User]) -> None:
    used, unused = django_user_model.objects.create_user("used"), django_user_model.objects.create_user("unused")
    tokens.issue_operator_token(used)
    chosen = {"action": "delete_selected", "_selected_action": [used.pk, unused.pk]}
    asked = root.post(reverse(USERS), chosen)
    assert "used: is deactivated instead" in asked.content.decode()
    done = root.post(reverse(USERS), chosen | {"post": "yes", "seen": asked.context["seen"]}, follow=True)
    assert shown_messages(done) == [
        "Deleted: unused.",
        "Deactivated instead of deleted, so that their history stays: used.",
    ]
    assert list(django_user_model.objects.filter(is_active=True).values_list("username", flat=True)) == ["ada"]


def test_the_page_that_deletes_says_what_happens(root: Client, django_user_model: type[User]) -> None:
    """Nothing is promised that does not happen: a user who had access is kept."""
    user = django_user_model.objects.create_user("used")
    tokens.issue_operator_token(user)
    page = root.get(reverse("admin:auth_user_delete", args=[user.pk])).content.decode()
    assert '<h1 dir="auto">Delete used</h1>' in page
    assert "This happens when you confirm:" in page
    assert "cannot be undone" not in page


def test_deleting_a_group_names_how_many_users_are_in_it(root: Client, django_user_model: type[User]) -> None:
    group = Group.objects.get(name="viewers")
    django_user_model.objects.create_user("one").groups.add(group)
    page = root.get(reverse("admin:auth_group_delete", args=[group.pk])).content.decode()
    assert "viewers, with 1 user, who loses its permissions" in page
    assert "relationship" not in page


def test_the_dates_of_a_user_are_written_as_everywhere(root: Client, django_user_model: type[User]) -> None:
    user = django_user_model.objects.create_user("one", date_joined=datetime(2026, 1, 31, 15, 4, tzinfo=UTC))
    page = root.get(change_url(user)).content.decode()
    assert "2026-01-31 15:04:00 UTC" in page
    assert "p.m." not in page


def test_a_changed_list_is_shown_again(root: Client, django_user_model: type[User]) -> None:
    """The user signs in between the page and the confirmation."""
    user = django_user_model.objects.create_user("new")
    url = reverse("admin:auth_user_delete", args=[user.pk])
    seen = root.get(url).context["seen"]
    tokens.issue_operator_token(user)
    answer = root.post(url, {"post": "yes", "seen": seen}, follow=True)
    assert "has changed" in shown_messages(answer)[0]
    assert "is deactivated instead" in answer.content.decode()
    user.refresh_from_db()
    assert user.is_active


def test_a_new_user_with_the_same_name_does_not_get_the_history_of_the_old_one(
    django_user_model: type[User], make_workspace: Make
) -> None:
    def user(name: str) -> tuple[User, Client]:
        made = django_user_model.objects.create_superuser(name)
        client = Client()
        client.force_login(made)
        return made, client

    first, old = user("ada")
    workspace = make_workspace("Scout")
    old.post(settings_url(workspace), form_of_workspace(workspace, name="Renamed"))
    assert last_event(workspace.id).actor == f"operator:ada#{first.pk}"
    first.username = "ada-old"
    first.save()
    _second, new = user("ada")
    mine = new.get(AUDIT).context["cl"].bar.presets[0]
    assert mine.label == "By me"
    assert not new.get(AUDIT + mine.url).context["cl"].result_list
    assert not new.get(AUDIT, {"actor": "ada"}).context["cl"].result_list
    for text in ("ada-old", f"ada#{first.pk}", f"operator:ada#{first.pk}"):
        found = len(old.get(AUDIT, {"actor": text}).context["cl"].result_list)
        assert found == (0 if text == "ada-old" else 1), text
    page = new.get(AUDIT).content.decode()
    assert ">ada<" in page.replace("\n", "")
    event = last_event(workspace.id)
    assert f"ada (operator:ada#{first.pk})" in new.get(change_url(event)).content.decode()


def test_groups_and_permissions_are_checkboxes(client: Client, administrator: User) -> None:
    """Every permission can be chosen, below what it is about, and the group's own are chosen."""
    group = Group.objects.get(name="viewers")
    boxes = client.get(change_url(group)).context["adminform"].form["permissions"].subwidgets
    assert {str(box.data["value"]) for box in boxes} == {str(one.pk) for one in Permission.objects.all()}
    chosen = {str(box.data["value"]) for box in boxes if box.data["selected"]}
    assert chosen == {str(one.pk) for one in group.permissions.all()}
    labels = {str(box.data["value"]): box.choice_label for box in boxes}
    assert labels[str(Permission.objects.get(codename="view_workspace").pk)] == "View"
    assert all(box.data["type"] == "checkbox" for box in boxes)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"is_superuser": True}, "Superuser"),
        ({"is_staff": True}, "Staff"),
        ({}, "Canvas only"),
        ({"is_superuser": True, "is_active": False}, "Deactivated"),
    ],
)
def test_the_list_says_what_a_user_has_access_to(
    client: Client, administrator: User, fields: dict[str, Any], word: str
) -> None:
    User.objects.create_user("somebody", **fields).groups.add(Group.objects.get(name="viewers"))
    page = client.get(reverse(USERS), {"q": "somebody"}).content.decode()
    assert word in page
    assert ">viewers</span>" in page
