"""Lists take only the lookups that they offer; others redirect to the list without filters, without a query."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from registry.models import Workspace
from tests.registry.admin.pages import WORKSPACES, Make, shown_messages

LOOKUPS = ("", "__exact", "__regex", "__iregex", "__contains", "__gt", "__range", "__year", "__name__regex", "__nope")
ODD = ("\x00", "((", "99999", "9" * 400, "(.*)(.*)(.*)\\1\\2\\3$", "", "ä" * 300)
LISTS = sorted((model_admin for model_admin in admin.site._registry.values()), key=lambda one: str(one.opts))
each_list = pytest.mark.parametrize("model_admin", LISTS, ids=lambda one: one.opts.label_lower)


def url_of(model_admin: "ModelAdmin[Any]") -> str:
    return reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist")


def offered(client: Client, model_admin: "ModelAdmin[Any]") -> set[str]:
    changelist = client.get(url_of(model_admin)).context["cl"]
    return set(changelist.bar.bar.names)


def refused(client: Client, model_admin: "ModelAdmin[Any]") -> Iterator[tuple[str, str]]:
    """Every column with every kind of lookup that is not offered, and an odd value for each."""
    known, odd = offered(client, model_admin), cycle(ODD)
    columns = sorted(field.name for field in model_admin.opts.get_fields() if field.concrete)
    return ((column + kind, next(odd)) for column in columns for kind in LOOKUPS if column + kind not in known)


def ask(client: Client, model_admin: "ModelAdmin[Any]", name: str, value: str) -> Any:
    client.cookies.pop("messages", None)
    return client.get(url_of(model_admin), {name: value})


@each_list
def test_a_lookup_that_is_not_offered_leads_back_and_reaches_no_database(
    root: Client, furnished: Workspace, model_admin: "ModelAdmin[Any]"
) -> None:
    for name, value in refused(root, model_admin):
        with CaptureQueriesContext(connection) as captured:
            answer = ask(root, model_admin, name, value)
        assert (answer.status_code, answer.headers.get("Location")) == (302, url_of(model_admin)), (name, value)
        assert not [query for query in captured.captured_queries if " ~ " in query["sql"] or " ~* " in query["sql"]]
    assert "list is shown without filters" in shown_messages(root.get(url_of(model_admin)))[0]


@each_list
def test_an_offered_lookup_takes_any_value(root: Client, furnished: Workspace, model_admin: "ModelAdmin[Any]") -> None:
    own = {"q", "o", "p", "all", "e", "_popup", "_to_field", "_facets", "page_before"}
    for name in sorted(offered(root, model_admin) | own):
        for value in ODD:
            answer = ask(root, model_admin, name, value)
            assert answer.status_code in (200, 302), (name, value)
            if answer.status_code == 302:
                assert answer.headers["Location"] == url_of(model_admin), (name, value)


def test_odd_values_are_named_and_the_list_is_shown(root: Client, furnished: Workspace) -> None:
    for query in ({"status": "\x00"}, {"tier": "x"}, {"state": "nope"}, {"q": "a" * 1000}):
        page = root.get(reverse(WORKSPACES), query, follow=True)
        assert page.status_code == 200
        assert "Furnished" in page.content.decode(), query


def test_the_choice_of_workspaces_takes_any_term(root: Client, make_workspace: Make) -> None:
    where = {"app_label": "registry", "model_name": "workspace", "field_name": "parent"}
    for value in ODD:
        assert root.get(reverse("admin:autocomplete"), {**where, "term": value}).status_code == 200, value


@each_list
def test_a_page_of_no_row_leads_back(root: Client, furnished: Workspace, model_admin: "ModelAdmin[Any]") -> None:
    name = f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}"
    for value in ("\x00", "99999999999999999999", "a", "_00"):
        for page in ("change", "history", "delete"):
            answer = root.get(reverse(f"{name}_{page}", args=[value]))
            assert answer.status_code in (302, 403, 404), (page, value)


@each_list
@pytest.mark.parametrize("selected", ["x", "\x00", "9" * 30])
def test_a_selection_that_is_no_row_is_answered_with_the_list(
    admin_client: Client, model_admin: "ModelAdmin[Any]", selected: str
) -> None:
    request = admin_client.get(url_of(model_admin)).wsgi_request
    for action in model_admin.get_actions(request):
        answer = admin_client.post(url_of(model_admin), {"action": action, "_selected_action": [selected]})
        assert (answer.status_code, answer.headers["Location"]) == (302, url_of(model_admin)), action
