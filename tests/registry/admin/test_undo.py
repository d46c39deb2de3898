"""The message about a change has a button that undoes it."""

import re
from typing import Any

import pytest
from django.test import Client

from activity.models import StructureEvent
from registry.models import Workspace
from registry.organisation import pausing, removal, workspaces
from tests.registry.admin.pages import (
    Make,
    change_url,
    confirmation_form,
    form_of,
    settings_url,
    shown_messages,
    url_of,
)  # fmt: skip

# Each worker of a test run collects the tests for itself, so a value in a name is the same each time.
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BUTTON = re.compile(r'action="/admin/registry/workspace/undo/">.*?name="events" value="([^"]*)"', re.DOTALL)


def button(page: Any) -> dict[str, str]:
    """What the page's button sends; there is one."""
    [events] = BUTTON.findall(page.content.decode())
    return {"events": events}


def move(client: Client, target: Workspace, *moved: Workspace) -> Any:
    form = confirmation_form(client, "move", *moved) | {"move_to": str(target.id)}
    return client.post(url_of("move"), form, follow=True)


def parents() -> dict[str, str | None]:
    return dict(Workspace.objects.values_list("name", "parent__name"))


def test_a_move_is_undone(root: Client, make_workspace: Make) -> None:
    lead, other = make_workspace("Lead"), make_workspace("Other")
    member = make_workspace("Member", parent_id=lead.id)
    moved = move(root, other, member)
    assert parents()["Member"] == "Other"
    done = root.post(url_of("undo"), button(moved), follow=True)
    assert done.redirect_chain[-1][0] == change_url(member)
    assert shown_messages(done) == ["Member is as before."]
    assert parents()["Member"] == "Lead"
    assert not BUTTON.search(done.content.decode())
    again = root.post(url_of("undo"), button(moved), follow=True)
    assert shown_messages(again) == ["Member: not undone, because the parent has been changed since."]


def test_a_move_of_several_is_undone_but_for_what_somebody_changed(root: Client, make_workspace: Make) -> None:
    lead, other = make_workspace("Lead"), make_workspace("Other")
    first, second = make_workspace("First", parent_id=lead.id), make_workspace("Second")
    moved = move(root, other, first, second)
    workspaces.update(second.id, {"parent_id": lead.id}, actor="operator:bob")
    done = root.post(url_of("undo"), button(moved), follow=True)
    assert sorted(shown_messages(done)) == [
        "First is as before.",
        "Second: not undone, because the parent has been changed since.",
    ]
    assert parents() == {"Lead": None, "Other": None, "First": "Lead", "Second": "Lead"}


def test_a_former_team_that_is_gone_is_said_in_words(root: Client, make_workspace: Make) -> None:
    lead, other = make_workspace("Lead"), make_workspace("Other")
    moved = move(root, other, make_workspace("Member", parent_id=lead.id))
    removal.remove(lead.id, actor="operator:bob", confirm=True)
    done = root.post(url_of("undo"), button(moved), follow=True)
    assert shown_messages(done) == ["Member: not undone, because there is no such workspace, or it is removed."]
    assert parents()["Member"] == "Other"


def test_a_thousand_fit_into_one_button(root: Client, make_workspace: Make, settings: Any) -> None:
    """Django refuses forms with more fields than that."""
    other = make_workspace("Other")
    moved = move(root, other, *(make_workspace(f"Member {n}") for n in range(20)))
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 10
    assert root.post(url_of("undo"), button(moved)).status_code == 302
    assert set(parents().values()) == {None}


def test_settings_are_undone_together(root: Client, make_workspace: Make) -> None:
    other, one = make_workspace("Other"), make_workspace("One", role="Writes")
    changed = {"name": "Renamed", "role": "", "tier": 3, "parent": str(other.id)}
    saved = root.post(settings_url(one), form_of(one, **changed), follow=True)
    root.post(url_of("undo"), button(saved))
    after = Workspace.objects.get(id=one.id)
    assert (after.name, after.role, after.tier, after.parent_id) == ("One", "Writes", one.tier, None)


def test_what_changed_nothing_has_no_button(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    assert not BUTTON.search(root.post(settings_url(one), form_of(one), follow=True).content.decode())


def test_other_verbs_have_no_button(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", status="online")
    page = root.post(url_of("pause"), {"chosen": str(one.id)}, follow=True).content.decode()
    assert "Paused One." in page
    assert not BUTTON.search(page)


def test_it_needs_post_and_the_permission(root: Client, viewer: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    workspaces.update(one.id, {"name": "Renamed"}, actor="operator:ada")
    event = StructureEvent.objects.order_by("-seq")[0].id
    assert root.get(url_of("undo")).status_code == 405
    assert viewer.post(url_of("undo"), {"events": str(event)}).status_code == 403
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = root.cookies
    assert careful.post(url_of("undo"), {"events": str(event)}).status_code == 403
    one.refresh_from_db()
    assert one.name == "Renamed"


@pytest.mark.parametrize("events", ["", "x", UNKNOWN, "\x00", "1" * 5000])
def test_unknown_events(root: Client, db: None, events: str) -> None:
    assert root.post(url_of("undo"), {"events": events}).status_code == 404


def test_an_event_of_another_kind_is_refused(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", status="online")
    pausing.pause(one.id, actor="operator:ada")
    event = StructureEvent.objects.order_by("-seq")[0].id
    done = root.post(url_of("undo"), {"events": str(event)}, follow=True)
    assert shown_messages(done) == ["One: not undone, because this change cannot be undone."]
