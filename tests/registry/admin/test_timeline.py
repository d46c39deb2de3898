"""A workspace's timeline: actor, time, old and new values, page by page."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from activity.models import StructureEvent
from registry.admin.workspace import events
from registry.models import Agent, Workspace
from registry.organisation import agents, removal, workspaces
from tests.activity.test_pages import record_cards
from tests.registry.admin.pages import Make, change_url, executed_sql, url_of


def test_it_shows_actor_time_and_old_and_new_values(root: Client, make_workspace: Make) -> None:
    lead, one = make_workspace("Lead"), make_workspace("One")
    workspaces.update(one.id, {"tier": 4, "parent_id": lead.id}, actor="operator:ada")
    page = root.get(url_of("events", one))
    moved, updated, created = page.context["entries"]
    assert [entry.summary.title for entry in (moved, updated, created)] == ["Moved", "Changed tier", "Created"]
    assert {entry.actor for entry in (moved, updated)} == {"ada"}
    html = page.content.decode()
    assert f'<a class="after" dir="auto" href="{change_url(lead)}">Lead</a>' in html
    assert f'datetime="{moved.event.created_at.isoformat()}"' in html
    assert f"{moved.event.created_at:%Y-%m-%d %H:%M:%S} UTC</time></div>" in html
    assert f'href="/?at={moved.event.seq}&amp;ws={one.id}"' in html
    assert reverse("admin:activity_structureevent_change", args=[moved.event.pk]) in html


def test_changes_by_the_agent_itself_are_labelled(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    workspaces.register(one.id, url="http://a:1", agent_card={"name": "One"}, held=True, enrolment_id=None)
    assert root.get(url_of("events", one)).context["entries"][0].actor == "the agent itself"


def test_pages_follow_each_other_without_gap_or_overlap(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    for number in range(events.PAGE_SIZE * 2):
        workspaces.update(one.id, {"name": f"Name {number}"}, actor="operator:ada")
        if number % 10 == 0:
            make_workspace("Somebody else")
    seen: list[int] = []
    pages: list[dict[str, Any]] = [{}]
    for query in pages:
        page = root.get(url_of("events", one), query)
        seen += [entry.event.seq for entry in page.context["entries"]]
        pages += [{"before": page.context["older"]}] if page.context["older"] else []
    own = StructureEvent.objects.filter(workspace_id=one.id).order_by("-seq")
    assert seen == list(own.values_list("seq", flat=True))
    assert len(seen) == events.PAGE_SIZE * 2 + 1


def test_the_address_of_earlier_releases_leads_to_the_same_page(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    answer = root.get(url_of("timeline", one), {"before": 7})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{url_of('events', one)}?before=7")
    assert root.get(url_of("enrol", one)).headers["Location"] == url_of("connect", one)


def test_parents_are_named_by_one_query(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")

    def wander(times: int) -> None:
        for _ in range(times):
            workspaces.update(one.id, {"parent_id": make_workspace("Lead").id}, actor="operator:ada")

    wander(2)
    few = len(executed_sql(root, url_of("events", one)))
    wander(30)
    assert len(executed_sql(root, url_of("events", one))) == few


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "\u0661", "1.5", str(2**63)])
def test_a_malformed_position_is_not_found(root: Client, make_workspace: Make, before: str) -> None:
    assert root.get(url_of("events", make_workspace("One")), {"before": before}).status_code == 404


def test_removed_workspaces_keep_their_timeline(root: Client, make_workspace: Make) -> None:
    gone, heir = make_workspace("Gone"), make_workspace("Heir")
    removal.remove(gone.id, actor="operator:ada", confirm=True, forward_to=heir.id)
    story = root.get(url_of("events", gone)).context["entries"][0].summary
    assert [(one.field, one.after.text) for one in story.differences][1] == ("forwarded to", "Heir")


def test_it_needs_the_permission_to_view_workspaces(viewer: Client, make_workspace: Make, client: Client) -> None:
    one = make_workspace("One")
    assert viewer.get(url_of("events", one)).status_code == 200
    assert client.get(url_of("events", one)).status_code == 302
    assert viewer.get(url_of("events", Workspace(id=uuid4()))).status_code == 404


def test_an_event_without_a_payload_is_shown(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    event = StructureEvent.objects.create(event_type="WORKSPACE_DEGRADED", workspace_id=one.id, actor="sql")
    assert root.get(url_of("events", one)).status_code == 200
    assert root.get(change_url(one)).status_code == 200
    assert root.get(change_url(event)).status_code == 200


def test_djangos_history_leads_to_the_timeline(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", model="m")
    history = reverse("admin:registry_workspace_history", args=[one.id])
    assert root.get(history).headers["Location"] == url_of("events", one)
    assert root.get(reverse("admin:registry_workspace_history", args=["x"])).status_code == 404
    assert history not in root.get(change_url(one)).content.decode()


def test_rows_that_nobody_edits_have_no_history_page(root: Client, make_workspace: Make) -> None:
    make_workspace("One", model="m")
    for row, name in (
        (Agent.objects.get(), "registry_agent"),
        (StructureEvent.objects.first(), "activity_structureevent"),
    ):
        assert row is not None
        history = reverse(f"admin:{name}_history", args=[row.pk])
        assert root.get(history).status_code == 404
        assert history not in root.get(change_url(row)).content.decode()


def test_canvas_links_of_a_workspace_open_it(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    for url in (change_url(one), url_of("events", one), url_of("expand", one)):
        links = re.findall(r'href="(/[^"]*)"[^>]*>Canvas<', root.get(url).content.decode())
        assert links
        assert set(links) - {"/"} == {f"/?ws={one.id}"}  # the navigation's leads to the whole organisation


def test_pages_of_large_events_are_shorter(root: Client, make_workspace: Make, settings: Any) -> None:
    settings.MAX_PAGE_BYTES = 256 * 1024
    own = make_workspace()
    record_cards(own.id, *[100 * 1024] * 5)
    seen: list[int] = []
    before: list[int] = [0]
    for position in before:
        page = root.get(url_of("events", own), {"before": position} if position else {})
        seen += [entry.event.seq for entry in page.context["entries"]]
        before += [page.context["older"]] if page.context["older"] else []
    assert seen == list(StructureEvent.objects.order_by("-seq").values_list("seq", flat=True))
    assert len(before) == 3


def test_the_times_of_model_assignments_name_their_zone(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    agents.assign(one.id, "first", actor="operator:ada")
    removed = agents.remove(one.id, reason=None, actor="operator:ada")
    html = root.get(url_of("agent", one)).content.decode()
    time = f'<time datetime="{removed.created_at.isoformat()}">{removed.created_at:%Y-%m-%d %H:%M:%S} UTC</time>'
    assert f'<td data-label="Since">{time}' in html
