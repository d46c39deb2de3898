"""How many workspaces need somebody stands in the navigation and in the title of every page, for who may know."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from activity.models import EventType
from registry.models import Workspace
from registry.organisation.attention import recent_counts
from tests.registry.admin.pages import WORKSPACES, client_with
from tests.registry.organisation.test_attention import tell

Make = Callable[..., Workspace]
BADGE = '<span class="count" data-live-count="attention" title="Workspaces that need attention"{}>{}</span>'


@pytest.fixture
def operator(client: Client, make_user: Callable[..., User]) -> Client:
    client.force_login(make_user("operator"))
    return client


def html_of(client: Client, url: str) -> str:
    return client.get(url).content.decode()


def test_every_page_has_the_count(operator: Client, make_workspace: Make) -> None:
    workspace = make_workspace()
    tell(workspace, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    for url in (reverse("admin:index"), reverse(WORKSPACES), reverse("admin:password_change")):
        html = html_of(operator, url)
        assert "<title>(1) " in html, url
        assert BADGE.format("", 1) in html, url


def test_without_a_problem_there_is_no_number(operator: Client, make_workspace: Make) -> None:
    make_workspace(status="online")
    html = html_of(operator, reverse(WORKSPACES))
    assert "<title>Workspaces · Molecule</title>" in html
    assert BADGE.format(" hidden", 0) in html


def test_pages_read_it_at_most_once_in_some_seconds(
    operator: Client, make_workspace: Make, django_assert_num_queries: Any
) -> None:
    url = reverse("admin:password_change")
    html_of(operator, url)
    tell(make_workspace(), EventType.WORKSPACE_OFFLINE, reason="lease expired")
    with django_assert_num_queries(5):  # session, user, permissions of the user and of groups, position of the log
        assert BADGE.format(" hidden", 0) in html_of(operator, url)
    recent_counts.forget()
    assert BADGE.format("", 1) in html_of(operator, url)


def test_the_overview_reads_it_anew(operator: Client, make_workspace: Make) -> None:
    html_of(operator, reverse(WORKSPACES))
    tell(make_workspace(), EventType.WORKSPACE_OFFLINE, reason="lease expired")
    assert BADGE.format("", 1) in html_of(operator, reverse("admin:index"))


def test_who_may_not_view_workspaces_learns_nothing(django_user_model: type[User], make_workspace: Make) -> None:
    tell(make_workspace(), EventType.WORKSPACE_OFFLINE, reason="lease expired")
    html = html_of(client_with(django_user_model, codename="view_structureevent"), reverse("admin:index"))
    assert "<title>Overview · Molecule</title>" in html
    assert BADGE.format("", 1) not in html
