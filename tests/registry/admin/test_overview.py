"""The overview shows what needs somebody, why, and what to do, to those who may see it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from activity.models import EventType
from registry.models import Workspace
from registry.organisation import workspaces
from tests.registry.organisation.test_attention import tell

Make = Callable[..., Workspace]
INDEX = reverse("admin:index")


@pytest.fixture
def page(make_user: Callable[..., User], client: Client) -> Callable[[str], str]:
    def get(level: str = "operator") -> str:
        client.force_login(make_user(level))
        return client.get(INDEX).content.decode()

    return get


def test_an_empty_organisation_leads_to_the_first_workspace(page: Any) -> None:
    html = page()
    assert "There are no workspaces yet." in html
    assert f'href="{reverse("admin:registry_workspace_add")}"' in html


def test_all_is_well(page: Any, make_workspace: Make) -> None:
    make_workspace(status="online")
    html = page()
    assert "Nothing. Every workspace is as it should be." in html
    assert "<title>Overview · Molecule</title>" in html


def test_what_is_wrong_comes_with_reason_path_last_change_and_verbs(page: Any, make_workspace: Make) -> None:
    lead = make_workspace("Lead", status="online")
    member = make_workspace("Member", parent_id=lead.id)
    workspaces.update(member.id, {"tier": 3}, actor="operator:ada#7")
    tell(member, EventType.WORKSPACE_PROVISION_FAILED, error="image missing")
    html = page()
    assert "<title>(1) Overview · Molecule</title>" in html
    for words in ("Failed", "image missing", '<small dir="auto">Lead</small>', "ada: Changed tier"):
        assert words in html, words
    assert f'value="{member.id}"><button class="button small">Pause</button>' in html


def test_a_viewer_sees_everything_and_no_verb(page: Any, make_workspace: Make) -> None:
    tell(make_workspace(), EventType.WORKSPACE_PROVISION_FAILED, error="image missing")
    html = page("viewer")
    assert "image missing" in html
    assert '<button class="button small">' not in html
    assert "Create workspace" not in html


def test_who_may_not_view_workspaces_sees_none_of_it(page: Any, make_workspace: Make) -> None:
    tell(make_workspace("Secret project"), EventType.WORKSPACE_PROVISION_FAILED, error="image missing")
    html = page("ungrouped")
    assert "may not view workspaces" in html
    assert "Secret project" not in html


def test_names_are_text(page: Any, make_workspace: Make) -> None:
    tell(make_workspace("<script>x</script>"), EventType.WORKSPACE_PROVISION_FAILED, error="<b>bold</b>")
    html = page()
    assert "<script>x" not in html
    assert "<b>bold" not in html


def test_the_number_of_queries_does_not_depend_on_the_number_of_workspaces(
    client: Client, make_user: Any, make_workspace: Make, django_assert_max_num_queries: Any
) -> None:
    client.force_login(make_user("operator"))
    for number in range(15):
        tell(make_workspace(str(number)), EventType.WORKSPACE_PROVISION_FAILED, error="x")
    with django_assert_max_num_queries(12):
        client.get(INDEX)
