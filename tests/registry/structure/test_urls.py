"""The rule for agents' URLs, and that the API and the admin apply it."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from rest_framework.test import APIClient

from activity.models import StructureEvent
from registry.models import Workspace
from registry.structure.urls import validate_agent_url

WITH_USER_INFO = ("http://user:pw@host", "https://user@host:1/a2a", "http://:pw@host", "http://@host", "remote://a:b@c")


@pytest.mark.parametrize(
    "url", ["http://host", "https://host:8443/a2a?x=1@2", "http://[::1]:9", "remote://no-inbound", "http://h/~a:b@c"]
)
def test_valid_urls(url: str) -> None:
    validate_agent_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "host", "/a2a", "{{BASE}}/a2a", "http://", "http:host", "javascript:alert(1)", "http://h:0", "http://h:x",
     "http://a b", "http://h\n", "http://h/\u202e", "http://h\u200b", "http://h/" + "x" * 2048],
)  # fmt: skip
def test_invalid_urls(url: str) -> None:
    with pytest.raises(ValidationError):
        validate_agent_url(url)


@pytest.mark.parametrize("url", WITH_USER_INFO)
def test_a_user_name_or_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must not contain a user name or password"):
        validate_agent_url(url)


def test_creating_an_external_workspace_applies_the_rule(as_operator: APIClient) -> None:
    answer = as_operator.post("/workspaces", {"name": "x", "external": True, "url": "http://user:pw@host"})
    assert answer.status_code == 400
    assert answer.json()["field"] == "url"
    assert answer.json()["error"] == "url: must not contain a user name or password"
    assert not Workspace.objects.exists()
    assert not StructureEvent.objects.exists()


def test_registering_applies_the_rule(
    make_workspace: Callable[..., Workspace], as_workspace: Callable[..., APIClient]
) -> None:
    workspace = make_workspace()
    body = {"id": str(workspace.id), "url": "http://user:pw@host", "agent_card": {"name": "a"}}
    answer = as_workspace(workspace).post("/registry/register", body)
    assert (answer.status_code, answer.json()["field"]) == (400, "url")
    workspace.refresh_from_db()
    assert workspace.url is None


def test_the_form_of_the_admin_applies_the_rule(make_user: Callable[..., object], client: Client) -> None:
    client.force_login(make_user("operator"))  # type: ignore[arg-type]
    form = {"name": "Ext", "tier": 1, "runtime": "x", "external": "on", "agent_url": "http://user:pw@host"}
    answer = client.post("/admin/registry/workspace/add/", form)
    assert answer.context["adminform"].form.errors == {"agent_url": ["must not contain a user name or password"]}
    assert not Workspace.objects.exists()
