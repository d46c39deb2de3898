"""Saved filters: everybody's own, and those that others share."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from registry.admin.lists import saved
from registry.models import SavedFilter
from tests.registry.admin.pages import WORKSPACES, client_with, shown_messages

SAVE = "admin:registry_workspace_saved"


def save(client: Client, name: str, query: str, **more: str) -> Any:
    return client.post(reverse(SAVE), {"name": name, "query": query, **more}, follow=True)


def offered(client: Client) -> dict[str, str]:
    return {link.label: link.url for link in client.get(reverse(WORKSPACES)).context["cl"].saved["links"]}


def change(client: Client, one: SavedFilter, **form: str) -> Any:
    return client.post(reverse(f"{SAVE}_one", args=[one.pk]), form, follow=True)


@pytest.fixture
def other(django_user_model: type[User]) -> Client:
    """Another operator."""
    return client_with(django_user_model, codename__in=["view_workspace", "change_workspace"])


def test_a_filter_is_saved_as_it_is_in_force_and_offered_to_its_owner(root: Client, other: Client) -> None:
    done = save(root, "Mine", "status=failed&status=offline,failed&tier=")
    assert shown_messages(done) == ["Saved the filter “Mine”."]
    assert offered(root) == {"Mine": "?status=failed&status=offline"}
    assert [link.is_current for link in done.context["cl"].saved["links"]] == [True]
    assert offered(other) == {}


def test_a_shared_filter_is_offered_to_all_who_may_view_the_list(root: Client, other: Client, viewer: Client) -> None:
    save(root, "Ours", "attention=1", shared="on")
    assert list(offered(other)) == list(offered(viewer)) == ["Ours (ada)"]
    page = other.get(reverse(SAVE)).content.decode()
    assert "Ours" not in page


def test_only_those_who_may_act_share(viewer: Client, root: Client) -> None:
    save(viewer, "Mine", "tier=1", shared="on")
    assert not SavedFilter.objects.get().shared
    assert change(viewer, SavedFilter.objects.get(), name="Mine", shared="on").status_code == 200
    assert not SavedFilter.objects.get().shared
    assert offered(root) == {}


def test_only_the_owner_changes_a_filter(root: Client, other: Client) -> None:
    save(root, "Ours", "tier=1", shared="on")
    one = SavedFilter.objects.get()
    for form in ({"name": "Theirs"}, {"delete": "1"}):
        assert change(other, one, **form).status_code == 404
    assert shown_messages(change(root, one, name="Renamed")) == ["Changed the filter “Renamed”."]
    one.refresh_from_db()
    assert (one.name, one.shared, one.query) == ("Renamed", False, "tier=1")
    assert root.get(reverse(f"{SAVE}_one", args=[one.pk])).status_code == 405
    change(root, one, delete="1")
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("colour=red", saved.NOT_OFFERED),
        ("tier=9", saved.NOT_OFFERED),
        ("created_after=soon", saved.NOT_OFFERED),
        ("view=team", saved.NOT_OFFERED),
        ("o=1", saved.NOT_OFFERED),
        ("team=x", saved.NOT_OFFERED),
        ("q=%00", saved.NOT_OFFERED),
        (f"q={'a' * 201}", saved.NOT_OFFERED),
        ("", saved.NOTHING),
        ("tier=", saved.NOTHING),
    ],
)
def test_what_the_list_does_not_offer_is_not_saved(root: Client, query: str, why: str) -> None:
    assert shown_messages(save(root, "Odd", query)) == [f"Not saved. {why}"]
    assert not SavedFilter.objects.exists()


def test_a_name_is_needed_and_used_once(root: Client, other: Client) -> None:
    save(root, "Mine", "tier=1")
    assert shown_messages(save(root, "Mine", "tier=2")) == [f"Not saved. {saved.TAKEN}"]
    assert "Name: This field is required" in shown_messages(save(root, "", "tier=2"))[0]
    save(other, "Mine", "tier=3")
    assert SavedFilter.objects.count() == 2
    save(root, "Second", "tier=2")
    answer = change(root, SavedFilter.objects.get(name="Second"), name="Mine")
    assert shown_messages(answer) == [f"Not changed. {saved.TAKEN}"]


def test_the_number_is_bounded(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST", 2)
    for number in range(3):
        last = save(root, f"F{number}", "tier=1")
    assert shown_messages(last) == [f"Not saved. {saved.TOO_MANY}"]


def test_many_that_others_share_hide_none_of_ones_own(
    root: Client, other: Client, django_user_model: type[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MOST", 2)
    third = client_with(django_user_model, codename__in=["view_workspace", "change_workspace"])
    for sharer in (other, third):
        for number in range(2):
            save(sharer, f"A{number}", "tier=1", shared="on")
    save(root, "Mine", "tier=2")
    assert next(iter(offered(root))) == "Mine"
    assert len(offered(root)) == 4


def test_saving_needs_the_permission_of_the_list(django_user_model: type[User], db: None) -> None:
    stranger = client_with(django_user_model, codename="view_agent")
    assert stranger.get(reverse(SAVE)).status_code == 403
    assert stranger.post(reverse(SAVE), {"name": "x", "query": "tier=1"}).status_code == 403
    assert Client().post(reverse(SAVE), {"name": "x", "query": "tier=1"}).status_code == 302
    assert not SavedFilter.objects.exists()


def test_filters_belong_to_one_list(root: Client) -> None:
    root.post(reverse("admin:activity_activitylog_saved"), {"name": "Errors", "query": "status=error"})
    assert offered(root) == {}
    assert [one.list for one in SavedFilter.objects.all()] == ["activity_activitylog"]
