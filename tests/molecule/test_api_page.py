"""The answers that docs/api.md shows have the fields of the real ones."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.identity import tokens
from registry.models import Workspace
from registry.organisation import agents
from tests.conftest import ACTOR, bearer
from tests.documents import ROOT

ROW = re.compile(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`[^|]* \| [^|]* \| (.*) \|$", re.MULTILINE)
ROWS = dict(ROW.findall((ROOT / "docs" / "api.md").read_text()))
OBJECT = re.compile(r"`(\{.*?\})`")
Make = Callable[..., Workspace]

CARD = {"name": "Agent"}
BEAT = {"workspace_id": "{id}"}
# Requests of an administrator, and of the agent of {id}, to routes that show their answer and need nothing else before.
REQUESTS: dict[str, Any] = {
    "POST /workspaces": {"name": "New"},
    "PATCH /workspaces/{id}": {"role": "New"},
    "DELETE /workspaces/{id}": None,
    "GET /workspaces/{id}/availability": None,
    "GET /workspaces/{id}/state": None,
    "POST /workspaces/{id}/enrolment": None,
    "GET /workspaces/{id}/connection": None,
    "POST /workspaces/{id}/pause": None,
    "POST /workspaces/{id}/expand": {"members": [{"name": "Member"}]},
    "POST /workspaces/{id}/collapse": None,
    "POST /workspaces/{empty}/agent": {"model": "m"},
    "PATCH /workspaces/{id}/agent": {"model": "n"},
    "DELETE /workspaces/{id}/agent": None,
    "POST /workspaces/{id}/agent/move": {"target_workspace_id": "{empty}"},
    "POST /registry/check-access": {"caller_id": "{id}", "target_id": "{empty}"},
    "GET /registry/explain?caller={id}&target={empty}": None,
    "POST /workspaces/{id}/activity": {"activity_type": "agent_log"},
    "POST /workspaces/{id}/secrets": {"key": "K", "value": "v"},
    "GET /workspaces/{id}/secrets": None,
    "DELETE /workspaces/{id}/secrets/SHARED": None,
    "POST /workspaces/{id}/reveal-secrets": None,
    "PUT /workspaces/{id}/model": {"model": "n"},
    "GET /workspaces/{id}/model": None,
    "GET /workspaces/{id}/tokens": None,
    "POST /workspaces/{id}/tokens": {"label": "new"},
    "GET /events/diff?from=0&to=999999999": None,
    "GET /search?q=lead": None,
    "GET /attention": None,
    "GET /overview": None,
    "GET /canvas/snapshot": None,
    "GET /canvas/viewport": None,
    "PUT /canvas/viewport": {"x": 1, "y": 1, "zoom": 1},
    "GET /health": None,
}
AGENT_REQUESTS: dict[str, Any] = {
    "POST /registry/register": {"id": "{id}", "url": "remote://no-inbound", "agent_card": CARD},
    "POST /registry/heartbeat": BEAT,
    "POST /registry/heartbeats": {"beats": [BEAT]},
    "POST /registry/update-card": {"workspace_id": "{id}", "agent_card": CARD},
    "POST /workspaces/{id}/notify": {"message": "m"},
    "GET /workspaces/{id}/tokens": None,
}


@pytest.fixture
def ids(make_workspace: Make) -> dict[str, str]:
    """`id` has an agent, a token and a secret; `empty` has none."""
    workspace, empty = make_workspace("Full"), make_workspace("Empty")
    agents.assign(workspace.id, "m", actor=ACTOR)
    return {"id": str(workspace.id), "empty": str(empty.id)}


@pytest.fixture
def administrator(make_user: Callable[..., Any]) -> APIClient:
    return bearer(tokens.issue_operator_token(make_user("administrator")))


@pytest.fixture
def agent(ids: dict[str, str], as_workspace: Callable[[Any], APIClient]) -> APIClient:
    return as_workspace(Workspace.objects.get(id=ids["id"]))


@pytest.mark.parametrize("request_line", REQUESTS)
def test_an_administrator_gets_what_the_page_shows(
    administrator: APIClient, agent: APIClient, ids: dict[str, str], request_line: str
) -> None:
    administrator.post(f"/workspaces/{ids['id']}/secrets", {"key": "SHARED", "value": "v"})
    expect_documented(administrator, request_line, REQUESTS[request_line], ids)


@pytest.mark.parametrize("request_line", AGENT_REQUESTS)
def test_an_agent_gets_what_the_page_shows(agent: APIClient, ids: dict[str, str], request_line: str) -> None:
    expect_documented(agent, request_line, AGENT_REQUESTS[request_line], ids)


def expect_documented(client: APIClient, request_line: str, body: Any, ids: dict[str, str]) -> None:
    method, path = filled(request_line, ids).split(" ")
    answer = getattr(client, method.lower())(path, *([] if body is None else [filled(body, ids)]))
    assert answer.status_code in (200, 201), answer.content
    real = answer.json()
    assert set(real[0] if isinstance(real, list) else real) == documented_fields(request_line)


def documented_fields(request_line: str) -> set[str]:
    """The names at the first level of the first object that the page shows as the answer."""
    route = request_line.partition("?")[0].replace("{empty}", "{id}").replace("/SHARED", "/{key}")
    cell = ROWS[route].rpartition("→")[2]
    shown = OBJECT.search(cell)
    assert shown, cell
    depth, fields = 0, set()
    for sign, name in re.findall(r'([{}\[\]])|(?<=[{,])"(\w+)"', shown[1]):
        depth += {"": 0, "{": 1, "[": 1, "}": -1, "]": -1}[sign]
        if name and depth == 1:
            fields.add(name)
    return fields


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(each, ids) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, ids) for each in value]
    for name, workspace_id in ids.items():
        value = value.replace(f"{{{name}}}", workspace_id) if isinstance(value, str) else value
    return value
