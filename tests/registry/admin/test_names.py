"""Names of workspaces: long ones, equal ones, those of Agent Cards, and those of agents that came back as new."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.admin.widgets import labels
from registry.models import Status, Workspace
from registry.organisation import workspaces
from registry.structure import hierarchy
from registry.structure.text import shortened_name
from tests.registry.admin.pages import change_url, settings_url

Make = Callable[..., Workspace]
LIST = reverse("admin:registry_workspace_changelist")
URL = "http://scout:1"


@pytest.fixture
def admin(make_user: Callable[..., User], client: Client) -> Client:
    client.force_login(make_user("operator"))
    return client


def _choices(admin: Client, term: str) -> dict[str, str]:
    query = {"app_label": "registry", "model_name": "workspace", "field_name": "parent", "term": term}
    found = admin.get(reverse("admin:autocomplete"), query).json()["results"]
    return {row["id"]: row["text"] for row in found}


def test_a_parent_is_chosen_by_its_path(admin: Client, make_workspace: Make) -> None:
    north, south = make_workspace("North"), make_workspace("South")
    one, two = (make_workspace("QA", parent_id=team.id) for team in (north, south))
    assert _choices(admin, "QA") == {str(one.id): "North / QA", str(two.id): "South / QA"}
    member = make_workspace("Tester", parent_id=one.id)
    page = admin.get(settings_url(member)).content.decode()
    assert ">North / QA</option>" in page


def test_equal_paths_are_told_apart_by_their_ids(make_workspace: Make) -> None:
    one, two = make_workspace("QA"), make_workspace("QA")
    assert labels([one.id, two.id]) == {row.id: f"QA ({str(row.id)[:8]})" for row in (one, two)}


def test_a_path_has_every_level(make_workspace: Make) -> None:
    top = make_workspace("a")
    middle = make_workspace("b", parent_id=top.id)
    leaf = make_workspace("c", parent_id=middle.id)
    assert hierarchy.paths([leaf.id, top.id]) == {leaf.id: ["a", "b", "c"], top.id: ["a"]}


def test_filters_are_cleared_only_where_there_are_any(admin: Client, make_workspace: Make) -> None:
    make_workspace("Scout")
    assert "Clear all" not in admin.get(LIST).content.decode()
    for query in ({"q": "Scout"}, {"status": "provisioning"}):
        page = admin.get(LIST, query).content.decode()
        assert 'href="?">Clear all</a>' in page, query


def test_a_role_of_several_lines_is_listed_by_its_first(admin: Client, make_workspace: Make) -> None:
    make_workspace("Scout", role="Finds things.\nSecond line.")
    page = admin.get(LIST).content.decode()
    assert '<span title="Finds things.\nSecond line." dir="auto">Finds things.</span>' in page


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("  Scout ", "Scout"),
        ("Scout\nof the north", "Scout of the north"),
        ("Scout \r\n\r\n  of\u2028the north\n", "Scout of the north"),
    ],
)
def test_the_name_in_a_card_becomes_one_line(given: str, name: str) -> None:
    assert shortened_name(given) == name


def test_an_agent_that_registers_by_itself_gets_a_name_of_one_line(client: Client, db: None, settings: Any) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    body = {"id": "7d3f1c9a-0000-4000-8000-000000000001", "url": URL, "agent_card": {"name": "  A\nB  "}}
    assert client.post("/registry/register", body, content_type="application/json").status_code == 200
    row = Workspace.objects.get()
    assert (row.name, row.agent_card) == ("A B", {"name": "  A\nB  "})


def _register(workspace: Workspace, name: str) -> None:
    workspaces.register(workspace.id, url=URL, agent_card={"name": name}, held=True, enrolment_id=None)


def test_another_name_in_the_card_is_shown_and_can_be_taken_over(admin: Client, make_workspace: Make) -> None:
    scout = make_workspace("Scout")
    _register(scout, "Scout")
    assert "Rename to" not in admin.get(change_url(scout)).content.decode()
    _register(scout, "Ranger")
    page = admin.get(change_url(scout)).content.decode()
    assert "Rename to “Ranger”" in page
    assert '<input type="hidden" name="name" value="Ranger">' in page
    rename = reverse("admin:registry_workspace_rename", args=[scout.id])
    assert admin.get(rename).status_code == 405
    shown = {"name": "Ranger"}
    assert "Renamed Scout to Ranger." in admin.post(rename, shown, follow=True).content.decode()
    scout.refresh_from_db()
    assert scout.name == "Ranger"
    assert "has no other name" in admin.post(rename, shown, follow=True).content.decode()


def test_a_card_that_is_renamed_in_between_is_not_taken_over_unseen(admin: Client, make_workspace: Make) -> None:
    scout = make_workspace("Scout")
    _register(scout, "Ranger")
    rename = reverse("admin:registry_workspace_rename", args=[scout.id])
    _register(scout, "Impostor")
    for shown in ({"name": "Ranger"}, {}):
        assert "has been renamed meanwhile" in admin.post(rename, shown, follow=True).content.decode()
    scout.refresh_from_db()
    assert scout.name == "Scout"


def test_a_viewer_may_not_take_the_name_over(client: Client, make_user: Any, make_workspace: Make) -> None:
    client.force_login(make_user("viewer"))
    scout = make_workspace("Scout")
    _register(scout, "Ranger")
    assert "Rename to" not in client.get(change_url(scout)).content.decode()
    assert client.post(reverse("admin:registry_workspace_rename", args=[scout.id])).status_code == 403


def _old_and_new(make_workspace: Make, **differences: Any) -> tuple[Workspace, Workspace]:
    old = make_workspace("Scout", external=True, url=URL)
    Workspace.objects.filter(id=old.id).update(status=Status.OFFLINE)
    return old, make_workspace(**{"name": "Scout", "external": True, "url": URL} | differences)


def test_a_workspace_that_its_agent_left_behind_is_offered_for_removal(admin: Client, make_workspace: Make) -> None:
    old, new = _old_and_new(make_workspace)
    page = admin.get(LIST).content.decode()
    assert page.count("Same name and address as") == 1
    assert f'href="{reverse("admin:registry_workspace_remove")}?id={old.id}">Remove…</a>' in page
    Workspace.objects.filter(id=new.id).update(status=Status.OFFLINE)
    assert "Same name" not in admin.get(LIST).content.decode()


@pytest.mark.parametrize("differences", [{"name": "Other"}, {"url": "http://scout:2"}, {"external": False}])
def test_a_workspace_that_is_only_alike_is_not(
    admin: Client, make_workspace: Make, differences: dict[str, Any]
) -> None:
    _old_and_new(make_workspace, **differences)
    assert "Same name" not in admin.get(LIST).content.decode()


def test_placeholders_are_no_addresses(admin: Client, make_workspace: Make) -> None:
    old, new = _old_and_new(make_workspace)
    Workspace.objects.filter(id__in=[old.id, new.id]).update(url="remote://no-inbound")
    assert "Same name" not in admin.get(LIST).content.decode()


def test_a_viewer_sees_what_was_left_behind_and_no_verb(client: Client, make_user: Any, make_workspace: Make) -> None:
    client.force_login(make_user("viewer"))
    _old_and_new(make_workspace)
    page = client.get(LIST).content.decode()
    assert "Same name and address as" in page
    assert "Remove…</a>" not in page
