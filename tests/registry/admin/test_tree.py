"""The list of workspaces by team."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from registry.admin.lists import tree
from registry.organisation import removal
from tests.registry.admin.pages import WORKSPACES, Make, executed_sql


def shown(branches: Any) -> Any:
    """Names, each with what is shown below it; "(name)" for what is only above what was found."""
    return {(b.workspace.name if b.is_found else f"({b.workspace.name})"): shown(b.members) for b in branches}


def by_team(client: Client, **query: str) -> Any:
    return client.get(reverse(WORKSPACES), {"view": "team", **query}).context["cl"].branches


@pytest.fixture
def organisation(make_workspace: Make) -> dict[str, Any]:
    """Top > Lead > Scout, Reader; Top > Quiet; Other; one that was removed."""
    top, other = make_workspace("Top"), make_workspace("Other")
    lead = make_workspace("Lead", parent_id=top.id)
    scout = make_workspace("Scout", parent_id=lead.id, status="failed")
    reader = make_workspace("Reader", parent_id=lead.id, tier=3)
    quiet = make_workspace("Quiet", parent_id=top.id)
    removal.remove(make_workspace("Gone", parent_id=lead.id).id, actor="test", confirm=True)
    return {"top": top, "other": other, "lead": lead, "scout": scout, "reader": reader, "quiet": quiet}


def test_everything_is_in_its_place(root: Client, organisation: dict[str, Any]) -> None:
    branches = by_team(root)
    assert shown(branches) == {"Other": {}, "Top": {"Lead": {"Reader": {}, "Scout": {}}, "Quiet": {}}}
    top = branches[1]
    assert (top.size, top.trouble) == (4, [("failed", "1 failed")])
    assert (top.is_open, top.members[0].is_open) == (True, False)


def test_a_team_has_a_page_of_its_own(root: Client, organisation: dict[str, Any]) -> None:
    assert shown(by_team(root, team=str(organisation["top"].id))) == {"Lead": {"Reader": {}, "Scout": {}}, "Quiet": {}}


def test_what_a_filter_finds_is_shown_below_what_is_above_it(root: Client, organisation: dict[str, Any]) -> None:
    assert shown(by_team(root, status="failed")) == {"(Top)": {"(Lead)": {"Scout": {}}}}
    assert shown(by_team(root, q="Lead")) == {"(Top)": {"Lead": {}}}
    inside = by_team(root, team=str(organisation["lead"].id), tier="3")
    assert shown(inside) == {"(Top)": {"(Lead)": {"Reader": {}}}}


def test_large_teams_are_loaded_when_they_are_opened(
    root: Client, organisation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MOST_NESTED", 3)
    assert shown(by_team(root)) == {"Other": {}, "Top": {}}
    page = root.get(reverse(WORKSPACES), {"view": "team"}).content.decode()
    assert f'data-load="?view=team&amp;team={organisation["top"].id}"' in page
    assert shown(by_team(root, team=str(organisation["top"].id))) == {
        "Lead": {"Reader": {}, "Scout": {}},
        "Quiet": {},
    }


def test_the_top_level_has_pages(root: Client, make_workspace: Make) -> None:
    for number in range(60):
        make_workspace("Member", parent_id=make_workspace(f"Root {number:02}").id)
    first, second = by_team(root), by_team(root, p="2")
    assert [len(first), len(second)] == [50, 10]
    assert all(len(branch.members) == 1 for branch in first)


def test_the_number_of_queries_does_not_depend_on_the_organisation(root: Client, make_workspace: Make) -> None:
    def grow(count: int) -> None:
        parent = make_workspace("Root")
        for number in range(count):
            parent = make_workspace(f"W{number}", parent_id=parent.id, tier=2)

    grow(2)
    queries = [{"view": "team"}, {"view": "team", "tier": "2"}]
    root.get(reverse(WORKSPACES), queries[0])  # fills the caches of the process
    few = [len(executed_sql(root, reverse(WORKSPACES), **query)) for query in queries]
    grow(15)
    assert [len(executed_sql(root, reverse(WORKSPACES), **query)) for query in queries] == few


def test_a_view_that_does_not_exist_is_refused(root: Client, organisation: dict[str, Any]) -> None:
    assert root.get(reverse(WORKSPACES), {"view": "map"}).status_code == 302
