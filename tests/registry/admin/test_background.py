"""Pages that scripts fetch in the background leave what is shown once for the page that somebody sees."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from registry.organisation import pausing, verbs
from tests.registry.admin.pages import Make, change_url, confirmation_url, shown_messages, url_of

BACKGROUND = {"X-Background": "1"}
UNSEEN = [("get", BACKGROUND), ("head", {})]


@pytest.mark.parametrize(("method", "headers"), UNSEEN)
@pytest.mark.parametrize("page", ["admin:index", "admin:registry_workspace_changelist"])
def test_messages_wait(root: Client, make_workspace: Make, method: str, headers: Any, page: str) -> None:
    one = make_workspace("One")
    root.post(url_of("pause"), {"chosen": str(one.id)})
    unseen = getattr(root, method)(reverse(page), headers=headers)
    assert unseen.status_code == 200
    assert b"Paused One." not in unseen.content
    seen = root.get(change_url(one))
    assert b"Paused One." in seen.content
    assert shown_messages(root.get(change_url(one))) == []


def test_a_page_that_is_not_there_any_more_says_nothing(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    pausing.pause(one.id, actor="test")
    assert root.get(confirmation_url("pause", one), headers=BACKGROUND).status_code == 302
    assert shown_messages(root.get(change_url(one))) == []
    assert shown_messages(root.get(confirmation_url("pause", one), follow=True)) == [verbs.PAUSE.nothing_to_do]


def test_a_session_that_has_ended_is_told_from_a_page_that_leads_elsewhere(root: Client) -> None:
    assert root.get(reverse("admin:index"), headers=BACKGROUND).status_code == 200
    root.logout()
    assert root.get(reverse("admin:index"), headers=BACKGROUND).status_code == 401
    assert root.get(reverse("admin:index")).status_code == 302


@pytest.mark.parametrize(("method", "headers"), UNSEEN)
def test_new_tokens_wait(root: Client, make_workspace: Make, method: str, headers: Any) -> None:
    one = make_workspace("One")
    for path, token in (
        (url_of("connect", one), b"mol_en_"),
        (reverse("admin:registry_operatortoken_issue"), b"mol_op_"),
    ):
        root.post(path)
        assert token not in getattr(root, method)(path, headers=headers).content
        assert token in root.get(path).content
        assert token not in root.get(path).content
