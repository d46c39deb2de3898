"""Removal asks first, includes the team, and is permanent."""

import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from activity.principals import operator_name
from registry.models import Status, Workspace
from registry.organisation import removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure import hierarchy
from tests.registry.admin.pages import (
    WORKSPACES,
    Make,
    change_url,
    confirmation_form,
    confirmation_url,
    form_of,
    last_event,
    settings_url,
    shown_messages,
    url_of,
)
from tests.registry.racing import PATIENCE_SECONDS, together, waiting


def test_the_confirmation_lists_the_whole_team_and_removes_nothing(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    middle = make_workspace("Middle", parent_id=top.id)
    make_workspace("Bottom", parent_id=middle.id)
    page = root.get(confirmation_url("remove", top)).content.decode()
    assert all(name in page for name in ("Top", "Middle", "Bottom", "3 workspaces"))
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_removal_includes_the_team_and_reports_the_number(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child, heir = make_workspace("Child", parent_id=top.id), make_workspace("Heir")
    form = confirmation_form(root, "remove", top) | {"forward_to": str(heir.id)}
    answer = root.post(url_of("remove"), form, follow=True)
    assert "Removed 2 workspaces." in [str(message) for message in answer.context["messages"]]
    assert set(Workspace.objects.filter(status=Status.REMOVED)) == {top, child}
    top.refresh_from_db()
    assert top.forwarded_to_id == heir.id
    assert operator_name(last_event(top.id).actor) == "operator:ada"


def test_workspaces_that_were_not_listed_are_not_removed(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    form = confirmation_form(root, "remove", top)
    make_workspace("Newcomer", parent_id=top.id)
    answer = root.post(url_of("remove"), form)
    assert "have changed since" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(url_of("remove"), dict(answer.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 2


def test_forwarding_to_a_removed_member_is_refused(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child = make_workspace("Child", parent_id=top.id)
    answer = root.post(url_of("remove"), confirmation_form(root, "remove", top) | {"forward_to": str(child.id)})
    assert "This workspace would be removed too" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_action_asks_first_and_counts_overlaps_once(root: Client, make_workspace: Make) -> None:
    top, other = make_workspace("Top"), make_workspace("Other")
    child = make_workspace("Child", parent_id=top.id)
    chosen = {"action": "remove", "_selected_action": [str(w.id) for w in (child, top, other)]}
    asked = root.post(reverse(WORKSPACES), chosen)
    assert asked.context["plan"].size == 3
    assert "3 chosen" not in asked.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(url_of("remove"), dict(asked.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 3


def test_bulk_removal_says_how_many_were_chosen_and_how_many_are_in_their_teams(
    root: Client, make_workspace: Make
) -> None:
    lead, other = make_workspace("Lead"), make_workspace("Other")
    member = make_workspace("Member", parent_id=lead.id)
    for number in range(3):
        make_workspace(f"Assistant {number}", parent_id=member.id)
    chosen = {"action": "remove", "_selected_action": [str(w.id) for w in (member, other)]}
    asked = root.post(reverse(WORKSPACES), chosen)
    assert "2 chosen + 3 in their teams" in asked.content.decode()
    assert ">Remove 5 workspaces</button>" in asked.content.decode()
    done = root.post(url_of("remove"), dict(asked.context["form"].initial), follow=True)
    assert shown_messages(done) == ["Removed 5 workspaces."]


def test_a_removed_workspace_is_not_removed_or_changed_again(root: Client, make_workspace: Make) -> None:
    gone = make_workspace("Gone")
    form = confirmation_form(root, "remove", gone)
    removal.remove(gone.id, actor="test", confirm=True)
    assert root.post(url_of("remove"), form).status_code == 302
    assert root.get(confirmation_url("remove", gone)).status_code == 302
    assert root.post(settings_url(gone), form_of(gone, name="Back")).status_code == 403
    assert "Remove…" not in root.get(change_url(gone)).content.decode()


def test_malformed_ids_are_not_found(root: Client, db: None) -> None:
    assert root.get(url_of("remove"), {"id": "x"}).status_code == 404
    assert root.post(url_of("remove"), {"chosen": "x"}).status_code == 404


def test_removal_needs_a_csrf_token(make_workspace: Make, django_user_model: type[User]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(django_user_model.objects.create_superuser("eve", "", "x"))
    workspace = make_workspace("Stays")
    assert strict.post(url_of("remove"), confirmation_form(strict, "remove", workspace)).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_child_that_is_added_while_the_removal_waits_is_not_removed_unseen(
    root: Client, make_workspace: Make
) -> None:
    """The form was checked against the list, then the removal waits for the lock that the addition holds."""
    top, holding = make_workspace("Top"), threading.Event()
    form = confirmation_form(root, "remove", top)
    answers: list[Any] = []

    def add() -> None:
        with transaction.atomic():
            hierarchy.lock()
            holding.set()
            while not waiting():
                time.sleep(0.01)
            workspaces.create(NewWorkspace(name="Newcomer", parent_id=top.id), actor="test")

    def remove() -> None:
        holding.wait(PATIENCE_SECONDS)
        answers.append(root.post(url_of("remove"), form))

    together(add, remove)
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    page = answers[0].content.decode()
    assert "have changed since" in page
    assert "Newcomer" in page
    root.post(url_of("remove"), dict(answers[0].context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 2


def test_a_member_that_was_renamed_is_shown_again(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child = make_workspace("Child", parent_id=top.id)
    form = confirmation_form(root, "remove", top)
    workspaces.update(child.id, {"name": "Payroll"}, actor="test")
    assert "Payroll" in root.post(url_of("remove"), form).content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_what_happened_to_each_is_said(root: Client, make_workspace: Make) -> None:
    """One of two is refused: the other is resumed, and the page names the one that is not."""
    lead = make_workspace("Lead", status="paused")
    stays, goes = make_workspace("Stays", parent_id=lead.id, status="paused"), make_workspace("Goes", status="paused")
    chosen = {"action": "resume", "_selected_action": [str(w.id) for w in (stays, goes)]}
    asked = root.post(reverse(WORKSPACES), chosen)
    page = root.post(url_of("resume"), dict(asked.context["form"].initial)).content.decode()
    assert '>Stays</a></th><td data-label="Result"><span class="badge badge-failed">Refused' in page
    assert "Resumed 1 workspace." in page
    goes.refresh_from_db()
    stays.refresh_from_db()
    assert (goes.status, stays.status) == ("provisioning", "paused")
