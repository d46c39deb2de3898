"""Django's page for an error under DEBUG, and its report in plain text, show no values of forms or variables."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from registry.models import GlobalSecret, Workspace
from registry.secrets import store
from tests.registry.admin.pages import change_url

CANARY = "canary-5f1d9c7a"
PASSWORD = "canary-password-77"


@pytest.fixture
def browser(db: None, settings: Any) -> Client:
    settings.DEBUG = True
    client = Client(raise_request_exception=False, headers={"Accept": "text/html"})
    client.force_login(User.objects.create_superuser("ada", "", "x"))
    return client


def _fail(*arguments: object, **keywords: object) -> None:
    raise RuntimeError("it fails")


def _forms(workspace: Workspace) -> dict[str, tuple[str, dict[str, str]]]:
    store.set_for_all("OLD", "before", actor="test")
    return {
        "global secret": (reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": CANARY}),
        "changed secret": (change_url(GlobalSecret.objects.get(key="OLD")), {"value": CANARY}),
        "workspace secret": (
            reverse("admin:registry_workspacesecret_add"),
            {"workspace": str(workspace.id), "key": "KEY", "value": CANARY},
        ),
    }


@pytest.mark.parametrize("name", ["global secret", "changed secret", "workspace secret"])
@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_a_secret_that_cannot_be_saved_is_not_shown(
    browser: Client,
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    accept: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, form = _forms(make_workspace())[name]
    monkeypatch.setattr(store, "note", _fail)
    answer = browser.post(url, form, headers={"Accept": accept})
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "it fails" in page, "it is the page with the traceback"
    assert CANARY not in page
    assert CANARY not in caplog.text


def test_a_failing_statement_shows_no_parameters(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("django.db.models.query.QuerySet.bulk_create", fail)
    answer = browser.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": CANARY})
    assert CANARY not in answer.content.decode()


def test_a_password_is_not_shown(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = reverse("admin:auth_user_password_change", args=[User.objects.get(username="ada").pk])
    monkeypatch.setattr(User, "save", _fail)
    answer = browser.post(url, {"password1": PASSWORD, "password2": PASSWORD})
    assert answer.status_code == 500
    assert PASSWORD not in answer.content.decode()


def test_settings_that_contain_passwords_are_not_shown(
    browser: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.REDIS_URL = settings.ANOTHER = f"redis://:{PASSWORD}@127.0.0.1:1/0"
    monkeypatch.setattr(store, "note", _fail)
    answer = browser.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": CANARY})
    assert answer.status_code == 500
    assert PASSWORD not in answer.content.decode()
    assert "ROOT_URLCONF" not in answer.content.decode(), "other settings neither"
