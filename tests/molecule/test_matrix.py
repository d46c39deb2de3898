"""Every route is called as every principal; the access letters in docs/api.md decide which calls get 401 or 403."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.urls import resolve
from django.utils import timezone
from rest_framework.test import APIClient

from molecule.policy import POLICY
from registry.identity import enrolment, tokens
from registry.models import Workspace, WorkspaceToken
from tests.conftest import JSONClient, bearer

Make = Callable[..., Workspace]
PUBLIC = "\N{EN DASH}"
API_DOC = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
BODIES = {
    "/registry/register": lambda i: {"id": i, "url": "http://a:1", "agent_card": {"name": "a"}},
    "/registry/heartbeat": lambda i: {"workspace_id": i},
    "/registry/update-card": lambda i: {"workspace_id": i, "agent_card": {"name": "a"}},
    "/registry/check-access": lambda i: {"caller_id": i, "target_id": i},
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    allowed: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def documented_routes() -> Iterator[Route]:
    for row in re.findall(r"^\| (`[A-Z]+ /.*?) \| (.*?) \|", API_DOC, re.MULTILINE):
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", row[0]):
            yield Route(method, path, frozenset(row[1].split()))


ROUTES = list(documented_routes())
# The access letters of docs/api.md that each principal has.
LETTERS = {
    "viewer": "V",
    "operator": "VO",
    "administrator": "VOMR",
    "own workspace": "WC",
    "other workspace": "C",
    "relative": "PC",
    "own enrolment": "E",
    "other enrolment": "",
    "scraper": "S",
}
UNAUTHENTICATED = ("anonymous", "forged X-Workspace-ID")
# Any workspace may call this route; access to the target depends on the hierarchy.
CHECKED_BY_HIERARCHY = {("/registry/discover/{id}", "other workspace")}
METRICS_TOKEN = "a-token-for-metrics-only"
INVALID_TOKENS = ("revoked token", "expired token", "unknown token")


def test_the_api_documentation_lists_every_route_in_the_policy() -> None:
    documented = {("stream", "CONNECT")} | {
        (resolve(_fill(route.path, str(uuid4()))).url_name, route.method) for route in ROUTES
    }
    assert documented == {(name, method) for name, methods in POLICY.items() for method in methods}


@pytest.fixture
def scene(
    make_workspace: Make, make_user: Callable[..., User], settings: Any
) -> tuple[Workspace, Callable[[str], APIClient]]:
    """The workspace in every path, and a function that returns a client for a principal's name."""
    target = make_workspace("target", parent_id=make_workspace("parent").id)
    child = make_workspace("child", parent_id=target.id)
    other = make_workspace("other", parent_id=child.id)
    bearer_tokens: dict[str, Callable[[], str]] = {
        "own workspace": lambda: _token(target),
        "other workspace": lambda: _token(other),
        "relative": lambda: _token(child),
        "own enrolment": lambda: enrolment.issue(target.id).token,
        "other enrolment": lambda: enrolment.issue(other.id).token,
        "revoked token": lambda: _token(target, revoked_at=timezone.now()),
        "expired token": lambda: _token(target, expires_at=timezone.now() - timedelta(seconds=1)),
        "unknown token": lambda: "mol_ws_000000000000_" + "x" * 43,
        "scraper": lambda: METRICS_TOKEN,
    }
    settings.METRICS_TOKEN = METRICS_TOKEN

    def client_of(name: str) -> APIClient:
        if name in bearer_tokens:
            return bearer(bearer_tokens[name]())
        if name not in UNAUTHENTICATED:
            return bearer(tokens.issue_operator_token(make_user(name)))
        client = JSONClient()
        if name.startswith("forged"):
            client.credentials(HTTP_X_WORKSPACE_ID=str(target.id))
        return client

    return target, client_of


@pytest.mark.parametrize("name", [*LETTERS, *UNAUTHENTICATED, *INVALID_TOKENS])
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_each_principal_may_call_only_its_documented_routes(
    route: Route, name: str, scene: tuple[Workspace, Callable[[str], APIClient]]
) -> None:
    target, client_of = scene
    response = _call(client_of(name), route, target)
    expected = _expected(route, name)
    if expected is not None:
        assert response.status_code == expected, response.content
    elif (route.path, name) in CHECKED_BY_HIERARCHY:
        assert response.status_code == 403
    else:
        assert response.status_code not in (401, 403, 405, 500), response.content


def _expected(route: Route, name: str) -> int | None:
    """The status code of a refused call, or None if the call is allowed."""
    if route.path == "/health" or (PUBLIC in route.allowed and name not in INVALID_TOKENS):
        return None
    if name in INVALID_TOKENS or name in UNAUTHENTICATED:
        return 401
    return None if route.allowed & set(LETTERS[name]) else 403


def _call(client: APIClient, route: Route, target: Workspace) -> Any:
    path = _fill(route.path, str(target.id))
    body = BODIES.get(route.path, lambda _id: {})(str(target.id))
    if route.method == "GET":
        return client.get(path)
    return client.generic(route.method, path, json.dumps(body), "application/json")


def _fill(path: str, workspace_id: str) -> str:
    filled = path.replace("{id}", workspace_id).replace("{token_id}", str(uuid4())).replace("{key}", "KEY")
    return filled.replace("{path}", "skills/one/SKILL.md").replace("{revision}", "1").replace("{template}", "reviewer")


def _token(workspace: Workspace, **changes: Any) -> str:
    issued = tokens.issue_workspace_token(workspace.id, may_reveal=True)
    WorkspaceToken.objects.filter(id=issued.id).update(label="matrix", **changes)
    return issued.text


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method != "GET" and "O" in r.allowed], ids=str)
def test_a_session_without_a_valid_csrf_token_cannot_write(
    route: Route, make_workspace: Make, make_user: Callable[..., User]
) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(make_user("operator"))
    browser.get("/")
    token, path = browser.cookies["csrftoken"].value, _fill(route.path, str(make_workspace().id))
    forged: list[dict[str, str]] = [
        {},
        {"X-CSRFToken": "x" * 64},
        {"X-CSRFToken": token, "Origin": "http://evil.example"},
    ]
    for headers in forged:
        response = browser.generic(route.method, path, "{}", "application/json", headers=headers)
        assert response.status_code == 403, (headers, response.content)


def test_requests_get_503_when_the_token_lookup_fails(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = bearer(_token(make_workspace()))
    monkeypatch.setattr(tokens, "_workspace", _raise_database_error)
    for path in ("/workspaces", f"/workspaces/{uuid4()}/state"):
        response = client.get(path)
        assert (response.status_code, response["Retry-After"]) == (503, "2")


def _raise_database_error(*arguments: object) -> None:
    raise OperationalError("server closed the connection")
