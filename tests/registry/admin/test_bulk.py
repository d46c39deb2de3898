"""Verbs on several workspaces: what they will do is shown first, and then what happened to each."""

import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import reverse

from registry.admin.actions import confirmation
from registry.models import Status, Workspace
from registry.organisation import pausing, removal, verbs, workspaces
from tests.registry.admin.pages import WORKSPACES, Make, confirmation_form, confirmation_url, shown_messages, url_of
from tests.registry.racing import PATIENCE_SECONDS, another_connection, as_if_on


def outcomes(answer: Any) -> dict[str, str]:
    """What the page says happened to each chosen workspace."""
    context = answer.context
    return {
        **{one.team.root.name: f"done {one.count}" for one in context["done"]},
        **{one.team.root.name: one.why for one in context["refused"]},
        **{one.workspace.name: f"skipped: {one.why}" for one in context["skipped"]},
    }


def test_workspaces_without_teams_are_one_table(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    make_workspace("Member", parent_id=lead.id)
    alone = [make_workspace(name) for name in ("One", "Two")]
    shown = root.get(confirmation_url("pause", alone[0], lead, alone[1])).context["plan"].shown
    assert [(title, [workspace.name for workspace, _state in rows]) for title, rows in shown] == [
        ("Without a team", ["One", "Two"]),
        ("Lead and its team", ["Lead", "Member"]),
    ]


def test_a_single_workspace_has_its_own_name_above_it(root: Client, make_workspace: Make) -> None:
    [(title, _rows)] = root.get(confirmation_url("remove", make_workspace("One"))).context["plan"].shown
    assert title == "One"


def test_what_was_paused_can_be_resumed_from_the_result(root: Client, make_workspace: Make) -> None:
    one, two = make_workspace("One"), make_workspace("Two")
    done = root.post(url_of("pause"), confirmation_form(root, "pause", one, two))
    assert done.context["back_again"] == confirmation_url("resume", one, two)
    assert "Resume them…" in done.content.decode()
    moved = root.post(url_of("move"), confirmation_form(root, "move", one, two))
    assert moved.context["back_again"] == ""


def parents() -> dict[str, str | None]:
    return dict(Workspace.objects.values_list("name", "parent__name"))


def test_each_chosen_workspace_is_reported(root: Client, make_workspace: Make) -> None:
    lead, other, paused, gone = (make_workspace(name) for name in ("Lead", "Other", "Paused", "Gone"))
    make_workspace("Member", parent_id=lead.id)
    pausing.pause(paused.id, actor="test")
    removal.remove(gone.id, actor="test", confirm=True)
    asked = root.get(confirmation_url("pause", lead, other, paused, gone))
    text = asked.content.decode()
    assert "2 chosen + 1 in their teams" in text
    assert "already paused" in text
    done = root.post(url_of("pause"), dict(asked.context["form"].initial))
    assert shown_messages(done) == ["Paused 3 workspaces."]
    assert outcomes(done) == {
        "Lead": "done 2",
        "Other": "done 1",
        "Paused": "skipped: already paused",
        "Gone": "skipped: removed",
    }
    reloaded = root.post(url_of("pause"), dict(asked.context["form"].initial), follow=True)
    assert shown_messages(reloaded) == [verbs.PAUSE.nothing_to_do]


def test_several_move_with_their_teams(root: Client, make_workspace: Make) -> None:
    target, first, second = (make_workspace(name) for name in ("Target", "First", "Second"))
    member = make_workspace("Member", parent_id=first.id)
    form = confirmation_form(root, "move", first, second, member)
    done = root.post(url_of("move"), form | {"move_to": str(target.id)})
    assert shown_messages(done) == ["Moved 3 workspaces."]
    assert outcomes(done) == {"First": "done 2", "Second": "done 1"}
    assert parents() == {"Target": None, "First": "Target", "Second": "Target", "Member": "First"}
    again = root.post(url_of("move"), confirmation_form(root, "move", first, second) | {"move_to": str(target.id)})
    assert set(outcomes(again).values()) == {"it is there already"}
    top = root.post(url_of("move"), confirmation_form(root, "move", first, second) | {"move_to": ""})
    assert outcomes(top) == {"First": "done 2", "Second": "done 1"}
    assert parents()["First"] is None


def test_a_move_below_a_descendant_names_it_and_the_others_move(root: Client, make_workspace: Make) -> None:
    lead, other = make_workspace("Lead"), make_workspace("Other")
    below = make_workspace("Scout", parent_id=make_workspace("Member", parent_id=lead.id).id)
    form = confirmation_form(root, "move", lead, other) | {"move_to": str(below.id)}
    done = root.post(url_of("move"), form)
    assert outcomes(done) == {
        "Other": "done 1",
        "Lead": "“Scout” is below “Lead”; a workspace cannot be moved into its own team",
    }
    assert (parents()["Lead"], parents()["Other"]) == (None, "Scout")
    assert done.context["again"] == confirmation_url("move", lead)


def test_a_move_always_asks(root: Client, make_workspace: Make) -> None:
    one, target = make_workspace("One"), make_workspace("Target")
    answer = root.post(url_of("move"), {"chosen": str(one.id), "move_to": str(target.id)})
    assert answer.status_code == 200
    assert parents()["One"] is None


def test_restart_is_offered_where_it_applies(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = make_workspace("Here", status="online"), make_workspace("Elsewhere", status="online")
    button = 'value="restart"'
    assert button not in root.get(reverse(WORKSPACES)).content.decode()
    monkeypatch.setattr(pausing, "can_restart", lambda workspace: workspace.id == here.id)
    assert button in root.get(reverse(WORKSPACES)).content.decode()
    asked = root.get(confirmation_url("restart", here, elsewhere))
    assert asked.context["plan"].size == 1
    done = root.post(url_of("restart"), dict(asked.context["form"].initial))
    assert shown_messages(done) == ["Restarted Here."]
    elsewhere.refresh_from_db()
    assert elsewhere.status == Status.ONLINE


def chosen_across(root: Client, verb: str, **query: str) -> Any:
    """Chooses all that the filter selects, on all pages."""
    first = root.get(reverse(WORKSPACES), query).context["cl"].result_list[0]
    chosen = {"action": verb, "select_across": "1", "_selected_action": [str(first.pk)]}
    return root.post(f"{reverse(WORKSPACES)}?{'&'.join(f'{n}={v}' for n, v in query.items())}", chosen)


def test_all_pages_of_a_filtered_list_can_be_chosen(root: Client, make_workspace: Make) -> None:
    for number in range(60):
        make_workspace(f"W{number:02}", tier=1 + number % 2)
    page = root.get(reverse(WORKSPACES), {"tier": "2"})
    assert page.context["cl"].result_count == 30
    everything = root.get(reverse(WORKSPACES))
    assert "Choose all 60" in everything.content.decode()
    assert chosen_across(root, "remove", tier="2").context["plan"].size == 30
    assert chosen_across(root, "remove").context["plan"].size == 60


def test_more_than_the_bound_is_refused_and_nothing_happens(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "MOST_CHOSEN", 3)
    everything = [make_workspace(f"W{number}", tier=1 + number // 3) for number in range(4)]
    for ask in (
        lambda: chosen_across(root, "pause"),
        lambda: root.get(confirmation_url("pause", *everything)),
        lambda: root.post(url_of("pause"), {"chosen": ",".join(str(one.id) for one in everything), "seen": "x"}),
    ):
        assert ask().status_code == 302
        assert "At most" in shown_messages(root.get(reverse(WORKSPACES)))[0]
    assert chosen_across(root, "pause", tier="1").context["plan"].size == 3


def test_a_long_list_is_shown_in_part_and_counted_whole(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.admin.actions.plans.MOST_SHOWN", 3)
    one, two = make_workspace("One"), make_workspace("Two")
    for number in range(3):
        make_workspace(f"M{number}", parent_id=one.id)
    text = root.get(confirmation_url("remove", one, two)).content.decode()
    assert "And 2 more workspaces" in text
    assert "Remove 5 workspaces" in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["move", "undo"])
def test_a_row_that_somebody_holds_refuses_that_team_and_not_the_others(
    root: Client, make_workspace: Make, verb: str
) -> None:
    target, held, other = (make_workspace(name) for name in ("Target", "Held", "Other"))
    form = confirmation_form(root, "move", held, other) | {"move_to": str(target.id)}
    if verb == "undo":
        form = {
            "events": " ".join(message.extra_tags for message in root.post(url_of("move"), form).context["messages"])
        }
    own = connections["default"]
    with another_connection(), transaction.atomic():
        Workspace.objects.select_for_update().get(id=held.id)
        with as_if_on(own), connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
            done = root.post(url_of(verb), form, follow=True)
            cursor.execute("RESET lock_timeout")
    if verb == "move":
        assert outcomes(done) == {"Held": "the database is busy, try again", "Other": "done 1"}
        assert parents() == {"Target": None, "Held": None, "Other": "Target"}
    else:
        said = ["Held: not undone, because the database is busy, try again.", "Other is as before."]
        assert sorted(shown_messages(done)) == said
        assert parents() == {"Target": None, "Held": "Target", "Other": None}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("meanwhile", ["move", "remove"])
def test_a_change_meanwhile_refuses_that_team_and_not_the_others(
    root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The other change commits after the plan was compared and before the first transaction takes its lock."""
    lead, other = make_workspace("Lead"), make_workspace("Other")
    member = make_workspace("Member", parent_id=lead.id)
    form = confirmation_form(root, "pause", lead, other)
    execute = confirmation._execute

    def change_first(*arguments: Any) -> Any:
        def change() -> None:
            if meanwhile == "move":
                workspaces.update(member.id, {"parent_id": other.id}, actor="test")
            else:
                removal.remove(lead.id, actor="test", confirm=True)

        rival = threading.Thread(target=change)
        rival.start()
        rival.join(PATIENCE_SECONDS)
        return execute(*arguments)

    monkeypatch.setattr(confirmation, "_execute", change_first)
    done = outcomes(root.post(url_of("pause"), form))
    statuses = dict(Workspace.objects.values_list("name", "status"))
    if meanwhile == "move":
        assert all("have changed since" in why for why in done.values())
        assert set(statuses.values()) == {Status.PROVISIONING}
    else:
        assert done["Other"] == "done 1"
        assert done["Lead"] != "done 2"
        assert statuses == {"Lead": Status.REMOVED, "Member": Status.REMOVED, "Other": Status.PAUSED}
