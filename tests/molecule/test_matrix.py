"""Every route times every principal, by the letters that docs/api.md prints: who has no business gets 401 or 403."""

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
ANYBODY = "\N{EN DASH}"
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
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
    who: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def documented() -> Iterator[Route]:
    for row in re.findall(r"^\| (`[A-Z]+ /.*?) \| (.*?) \|", DOCUMENT, re.MULTILINE):
        for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", row[0]):
            yield Route(method, path, frozenset(row[1].split()))


ROUTES = list(documented())
# What each principal is, in the letters of the document.
LETTERS = {
    "viewer": "V",
    "operator": "VO",
    "administrator": "VOM",
    "own workspace": "WC",
    "other workspace": "C",
    "relative": "PC",
    "own enrolment": "E",
    "other enrolment": "",
    "scraper": "S",
}
UNAUTHENTICATED = ("anonymous", "forged X-Workspace-ID")
# Any workspace may ask where another is; the answer depends on the hierarchy.
ASKED_FURTHER = {("/registry/discover/{id}", "other workspace")}
METRICS_TOKEN = "a-token-of-metrics-only"
SPENT = ("revoked token", "expired token", "nobody's token")


def test_the_document_names_every_route_of_the_policy() -> None:
    named = {("stream", "CONNECT")} | {
        (resolve(_fill(route.path, str(uuid4()))).url_name, route.method) for route in ROUTES
    }
    assert named == {(name, method) for name, methods in POLICY.items() for method in methods}


@pytest.fixture
def scene(
    make_workspace: Make, make_user: Callable[..., User], settings: Any
) -> tuple[Workspace, Callable[[str], APIClient]]:
    """The workspace that every path names, and whoever comes along."""
    target = make_workspace("target", parent_id=make_workspace("parent").id)
    child = make_workspace("child", parent_id=target.id)
    other = make_workspace("other", parent_id=child.id)
    made: dict[str, Callable[[], str]] = {
        "own workspace": lambda: _token(target),
        "other workspace": lambda: _token(other),
        "relative": lambda: _token(child),
        "own enrolment": lambda: enrolment.issue(target.id).token,
        "other enrolment": lambda: enrolment.issue(other.id).token,
        "revoked token": lambda: _token(target, revoked_at=timezone.now()),
        "expired token": lambda: _token(target, expires_at=timezone.now() - timedelta(seconds=1)),
        "nobody's token": lambda: "mol_ws_000000000000_" + "x" * 43,
        "scraper": lambda: METRICS_TOKEN,
    }
    settings.METRICS_TOKEN = METRICS_TOKEN

    def client_of(name: str) -> APIClient:
        if name in made:
            return bearer(made[name]())
        if name not in UNAUTHENTICATED:
            return bearer(tokens.issue_operator_token(make_user(name)))
        client = JSONClient()
        if name.startswith("forged"):
            client.credentials(HTTP_X_WORKSPACE_ID=str(target.id))
        return client

    return target, client_of


@pytest.mark.parametrize("name", [*LETTERS, *UNAUTHENTICATED, *SPENT])
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_who_may_call(route: Route, name: str, scene: tuple[Workspace, Callable[[str], APIClient]]) -> None:
    target, client_of = scene
    answer = _call(client_of(name), route, target)
    expected = _expected(route, name)
    if expected is not None:
        assert answer.status_code == expected, answer.content
    elif (route.path, name) in ASKED_FURTHER:
        assert answer.status_code == 403
    else:
        assert answer.status_code not in (401, 403, 405, 500), answer.content


def _expected(route: Route, name: str) -> int | None:
    """The exact refusal, or None for who is let in."""
    if route.path == "/health" or (ANYBODY in route.who and name not in SPENT):
        return None
    if name in SPENT or name in UNAUTHENTICATED:
        return 401
    return None if route.who & set(LETTERS[name]) else 403


def _call(client: APIClient, route: Route, target: Workspace) -> Any:
    path = _fill(route.path, str(target.id))
    body = BODIES.get(route.path, lambda _id: {})(str(target.id))
    if route.method == "GET":
        return client.get(path)
    return client.generic(route.method, path, json.dumps(body), "application/json")


def _fill(path: str, workspace_id: str) -> str:
    return path.replace("{id}", workspace_id).replace("{token_id}", str(uuid4())).replace("{key}", "KEY")


def _token(workspace: Workspace, **changes: Any) -> str:
    issued = tokens.issue_workspace_token(workspace.id)
    WorkspaceToken.objects.filter(id=issued.id).update(label="matrix", **changes)
    return issued.text


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method != "GET" and "O" in r.who], ids=str)
def test_a_session_does_not_act_for_other_pages(
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
        answer = browser.generic(route.method, path, "{}", "application/json", headers=headers)
        assert answer.status_code == 403, (headers, answer.content)


def test_when_the_database_does_not_answer_nobody_gets_in(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = bearer(_token(make_workspace()))
    monkeypatch.setattr(tokens, "_workspace", _database_is_down)
    for path in ("/workspaces", f"/workspaces/{uuid4()}/state"):
        answer = client.get(path)
        assert (answer.status_code, answer["Retry-After"]) == (503, "2")


def _database_is_down(*arguments: object) -> None:
    raise OperationalError("server closed the connection")
