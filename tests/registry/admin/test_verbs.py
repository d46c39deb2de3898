"""Pause, resume, restart, collapse: what they affect is shown first, and only a POST changes anything."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity.models import StructureEvent
from activity.principals import operator_name
from registry.models import Status, Workspace
from registry.organisation import pausing, removal
from registry.organisation.verbs import RESTART, VERBS
from tests.registry.admin.pages import (
    WORKSPACES,
    Make,
    change_url,
    confirmation_form,
    confirmation_url,
    executed_sql,
    last_event,
    shown_messages,
    url_of,
)  # fmt: skip

NAMES = [verb.name for verb in VERBS]


def status(*workspaces: Workspace) -> list[str]:
    found = dict(Workspace.objects.values_list("id", "status"))
    return [found[one.id] for one in workspaces]


@pytest.fixture
def team(make_workspace: Make) -> list[Workspace]:
    """Top, middle, bottom."""
    top = make_workspace("Top", status="online")
    middle = make_workspace("Middle", parent_id=top.id, status="online")
    return [top, middle, make_workspace("Bottom", parent_id=middle.id, status="offline")]


def test_pausing_a_team_asks_then_pauses_all_and_says_how_many(root: Client, team: list[Workspace]) -> None:
    asked = root.post(url_of("pause"), {"chosen": str(team[0].id)})
    assert [w.name for w in asked.context["plan"].teams[0].affected] == ["Top", "Middle", "Bottom"]
    assert status(*team) == ["online", "online", "offline"]
    done = root.post(url_of("pause"), dict(asked.context["form"].initial), follow=True)
    assert shown_messages(done) == ["Paused 3 workspaces."]
    assert done.redirect_chain[-1][0] == change_url(team[0])
    assert status(*team) == ["paused"] * 3
    assert operator_name(last_event(team[2].id).actor) == "operator:ada"


def test_one_without_a_team_needs_no_confirmation(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", status="online")
    for verb, reached in (("pause", "paused"), ("resume", "provisioning")):
        assert root.post(url_of(verb), {"chosen": str(one.id)}).status_code == 302
        assert status(one) == [reached]


def test_destructive_verbs_always_ask(root: Client, team: list[Workspace]) -> None:
    for verb in ("remove", "collapse"):
        assert root.post(url_of(verb), {"chosen": str(team[1].id)}).status_code == 200
    assert Status.REMOVED not in status(*team)


def test_only_what_would_change_is_listed(root: Client, team: list[Workspace]) -> None:
    pausing.pause(team[1].id, actor="test")
    paused = root.get(confirmation_url("pause", team[0])).context["plan"]
    assert [w.name for w in paused.teams[0].affected] == ["Top"]
    root.post(url_of("pause"), {"chosen": str(team[0].id)})
    resumed = root.post(url_of("resume"), confirmation_form(root, "resume", team[0]), follow=True)
    assert shown_messages(resumed) == ["Resumed 3 workspaces."]
    assert status(*team) == ["provisioning"] * 3


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this platform ran every workspace's agent; nothing does so yet."""
    monkeypatch.setattr(pausing, "can_restart", lambda workspace: True)


def test_what_this_platform_does_not_run_is_not_restarted(root: Client, team: list[Workspace]) -> None:
    page = root.get(change_url(team[0]))
    assert "restart" not in [button.title.lower() for button in page.context["header"].toolbar.buttons]
    assert 'value="restart"' not in root.get(reverse(WORKSPACES)).content.decode()
    answer = root.post(url_of("restart"), {"chosen": str(team[0].id)}, follow=True)
    assert shown_messages(answer) == [RESTART.nothing_to_do]
    assert status(*team) == ["online", "online", "offline"]


@pytest.mark.usefixtures("run_here")
def test_restart_leaves_the_team_alone(root: Client, team: list[Workspace]) -> None:
    titles = [button.title for button in root.get(change_url(team[0])).context["header"].toolbar.buttons]
    assert "Restart" in titles
    answer = root.post(url_of("restart"), {"chosen": str(team[0].id)}, follow=True)
    assert shown_messages(answer) == [f"Restarted {team[0].name}."]
    assert status(*team) == ["provisioning", "online", "offline"]


def test_removing_a_team_lists_it_and_keeps_its_lead(root: Client, team: list[Workspace]) -> None:
    asked = root.get(confirmation_url("collapse", team[0]))
    assert [w.name for w in asked.context["plan"].teams[0].affected] == ["Middle", "Bottom"]
    done = root.post(url_of("collapse"), dict(asked.context["form"].initial), follow=True)
    assert shown_messages(done) == ["Removed 2 workspaces."]
    assert done.redirect_chain[-1][0] == change_url(team[0])
    assert status(*team) == ["online", "removed", "removed"]


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_bulk_actions_ask_first_and_count_overlaps_once(root: Client, team: list[Workspace], name: str) -> None:
    if name == "resume":
        pausing.pause(team[0].id, actor="test")
    before = status(*team)
    chosen = {"action": name, "_selected_action": [str(w.id) for w in team]}
    asked = root.post(reverse(WORKSPACES), chosen)
    assert asked.context["plan"].size == 3
    assert status(*team) == before
    done = root.post(url_of(name), dict(asked.context["form"].initial), follow=True)
    assert shown_messages(done)[0].endswith(" 3 workspaces.")
    assert len(set(status(*team))) == 1


def test_one_below_a_paused_parent_can_still_be_paused(root: Client, team: list[Workspace]) -> None:
    """Pause does not apply to the parent, so the parent must not cover its team member."""
    Workspace.objects.filter(id=team[0].id).update(status=Status.PAUSED)
    plan = root.get(confirmation_url("pause", team[0], team[1])).context["plan"]
    assert [t.root.name for t in plan.teams] == ["Middle"]


def test_a_refusal_is_shown_and_changes_nothing(root: Client, team: list[Workspace]) -> None:
    pausing.pause(team[0].id, actor="test")
    answer = root.post(url_of("resume"), confirmation_form(root, "resume", team[1]))
    assert "Parent Top is paused: resume it first" in answer.content.decode()
    assert status(*team) == ["paused"] * 3
    assert not LogEntry.objects.exists()


def test_workspaces_that_were_not_listed_are_not_changed(
    root: Client, team: list[Workspace], make_workspace: Make
) -> None:
    for verb in ("pause", "collapse"):
        form = confirmation_form(root, verb, team[0])
        newcomer = make_workspace("Newcomer", parent_id=team[0].id)
        assert "have changed since" in root.post(url_of(verb), form).content.decode()
        assert status(team[0], newcomer) == ["online", "provisioning"]


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_that_applies_to_nothing_says_so(root: Client, make_workspace: Make, name: str) -> None:
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor="test", confirm=True)
    for answer in (
        root.get(confirmation_url(name, gone), follow=True),
        root.post(url_of(name), {"chosen": str(gone.id)}),
    ):
        assert answer.status_code in (200, 302)
    (verb,) = (one for one in VERBS if one.name == name)
    assert shown_messages(root.get(confirmation_url(name, gone), follow=True))[-1] == verb.nothing_to_do


@pytest.mark.parametrize("name", NAMES)
def test_get_does_nothing(root: Client, team: list[Workspace], name: str) -> None:
    before, events = status(*team), StructureEvent.objects.count()
    form = confirmation_form(root, "remove", team[0])
    assert root.get(url_of(name), form | {"id": str(team[0].id)}).status_code in (200, 302)
    assert (status(*team), StructureEvent.objects.count()) == (before, events)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("run_here")
def test_viewers_are_refused(root: Client, viewer: Client, team: list[Workspace], name: str) -> None:
    if name == "resume":
        pausing.pause(team[0].id, actor="test")
    before, form = status(*team), confirmation_form(root, name, team[0])
    assert viewer.get(confirmation_url(name, team[0])).status_code == 403
    assert viewer.post(url_of(name), form).status_code == 403
    viewer.post(reverse(WORKSPACES), {"action": name, "_selected_action": [str(team[0].id)]})
    assert status(*team) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_post_needs_a_csrf_token(
    root: Client, team: list[Workspace], django_user_model: type[User], name: str
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(django_user_model.objects.create_superuser("eve", "", "x"))
    assert strict.post(url_of(name), {"chosen": str(team[0].id)}).status_code == 403
    assert strict.post(url_of("connect", team[0])).status_code == 403


def test_a_page_offers_the_verbs_that_apply(root: Client, viewer: Client, team: list[Workspace]) -> None:
    def titles(client: Client, workspace: Workspace) -> list[str]:
        shown = client.get(change_url(workspace)).context["header"].toolbar
        return [f"{button.title}!" if button is shown.primary else button.title for button in shown.buttons]

    top, _middle, bottom = team
    connect, everyday = "Connect its agent", ["Add members…", "Move…", "Duplicate…", "Export bundle"]
    assert titles(root, top) == ["Pause team…", connect, *everyday, "Remove team…", "Remove…"]
    assert titles(root, bottom) == ["Pause", connect, *everyday, "Remove…"]
    Workspace.objects.filter(id=bottom.id).update(status=Status.PROVISIONING)
    assert titles(root, bottom) == [f"{connect}!", "Pause", *everyday, "Remove…"]
    Workspace.objects.filter(id=bottom.id).update(status=Status.OFFLINE, refused_at=timezone.now(), refused_reason="x")
    assert titles(root, bottom) == [f"{connect}!", "Pause", *everyday, "Remove…"]
    pausing.pause(bottom.id, actor="test")
    assert titles(root, bottom) == ["Resume!", connect, *everyday, "Remove…"]
    removal.remove(bottom.id, actor="test", confirm=True)
    assert titles(root, bottom) == ["Forward…"]
    assert (titles(viewer, top), titles(viewer, bottom)) == (["Export bundle"], [])
    assert f'action="{url_of("pause")}"' in root.get(change_url(top)).content.decode()
    assert f'action="{url_of("pause")}"' not in viewer.get(change_url(top)).content.decode()


@pytest.mark.usefixtures("run_here")
def test_what_this_platform_runs_is_restarted_first_when_it_is_down(root: Client, team: list[Workspace]) -> None:
    shown = root.get(change_url(team[2])).context["header"].toolbar
    assert (shown.primary.title, [button.title for button in shown.shown]) == ("Restart", ["Pause"])


def test_queries_of_the_confirmation_do_not_grow(root: Client, make_workspace: Make) -> None:
    def grow(count: int) -> list[Workspace]:
        tops = [make_workspace(f"T{n}") for n in range(count)]
        return [*tops, *(make_workspace("C", parent_id=top.id) for top in tops)]

    few = grow(2)
    small = len(executed_sql(root, confirmation_url("pause", *few)))
    many = grow(20)
    assert len(executed_sql(root, confirmation_url("pause", *many))) == small


def test_malformed_ids_are_not_found(root: Client, db: None) -> None:
    for name in NAMES:
        assert root.get(url_of(name), {"id": "x"}).status_code == 404
        assert root.post(url_of(name), {"chosen": "x"}).status_code == 404
        answer: Any = root.post(url_of(name))
        assert answer.status_code == 302
