"""Removal asks first, takes the team, and is final."""

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.models import Status, Workspace
from registry.organisation import removal
from tests.registry.admin.pages import (
    WORKSPACES,
    Make,
    asking_url,
    change_url,
    confirmation,
    form_of,
    last_event,
    url_of,
)


def test_asking_lists_all_that_goes_and_removes_nothing(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    middle = make_workspace("Middle", parent_id=top.id)
    make_workspace("Bottom", parent_id=middle.id)
    page = root.get(asking_url("remove", top)).content.decode()
    assert all(name in page for name in ("Top", "Middle", "Bottom", "3 workspaces"))
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_removal_retires_the_subtree_and_says_how_many(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child, heir = make_workspace("Child", parent_id=top.id), make_workspace("Heir")
    form = confirmation(root, "remove", top) | {"forward_to": str(heir.id)}
    answer = root.post(url_of("remove"), form, follow=True)
    assert "Removed 2 workspaces." in [str(message) for message in answer.context["messages"]]
    assert set(Workspace.objects.filter(status=Status.REMOVED)) == {top, child}
    top.refresh_from_db()
    assert top.forwarded_to_id == heir.id
    assert last_event(top.id).actor == "operator:ada"


def test_what_was_not_seen_does_not_go(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    form = confirmation(root, "remove", top)
    make_workspace("Newcomer", parent_id=top.id)
    answer = root.post(url_of("remove"), form)
    assert "has changed since" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(url_of("remove"), dict(answer.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 2


def test_forwarding_to_what_goes_is_refused(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child = make_workspace("Child", parent_id=top.id)
    answer = root.post(url_of("remove"), confirmation(root, "remove", top) | {"forward_to": str(child.id)})
    assert "This workspace would be removed too" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_action_asks_first_and_counts_overlaps_once(root: Client, make_workspace: Make) -> None:
    top, other = make_workspace("Top"), make_workspace("Other")
    child = make_workspace("Child", parent_id=top.id)
    chosen = {"action": "remove", "_selected_action": [str(w.id) for w in (child, top, other)]}
    asked = root.post(reverse(WORKSPACES), chosen)
    assert asked.context["plan"].size == 3
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(url_of("remove"), dict(asked.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 3


def test_removed_is_removed(root: Client, make_workspace: Make) -> None:
    gone = make_workspace("Gone")
    form = confirmation(root, "remove", gone)
    removal.remove(gone.id, actor="test", confirm=True)
    assert root.post(url_of("remove"), form).status_code == 302
    assert root.get(asking_url("remove", gone)).status_code == 302
    assert root.post(change_url(gone), form_of(gone, name="Back")).status_code == 403
    assert "Remove…" not in root.get(change_url(gone)).content.decode()


def test_removal_of_nonsense_is_not_found(root: Client, db: None) -> None:
    assert root.get(url_of("remove"), {"id": "x"}).status_code == 404
    assert root.post(url_of("remove"), {"chosen": "x"}).status_code == 404


def test_removal_needs_a_csrf_token(make_workspace: Make, django_user_model: type[User]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(django_user_model.objects.create_superuser("eve", "", "x"))
    workspace = make_workspace("Stays")
    assert strict.post(url_of("remove"), confirmation(strict, "remove", workspace)).status_code == 403
