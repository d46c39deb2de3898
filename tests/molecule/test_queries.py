"""How many queries a read costs: the same for three rows as for thirty, and few where it is asked often."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from activity import log
from activity.log import Entry
from canvas import layout
from molecule.policy import POLICY
from registry.identity import tokens
from registry.models import Workspace
from registry.organisation import agents, workspaces
from registry.secrets import store

Make = Callable[..., Workspace]
FEW, MANY = 3, 30

LISTS = {
    "workspaces": ["/workspaces", "/workspaces?limit=1000", "/workspaces?after={lead}&limit=1000"],
    "workspace-activity": ["/workspaces/{lead}/activity"],
    "agents": ["/workspaces/{lead}/agents"],
    "peers": ["/registry/{lead}/peers", "/registry/{child}/peers"],
    "explain": ["/registry/explain?caller={lead}&target={child}"],
    "workspace-secrets": ["/workspaces/{lead}/secrets"],
    "global-secrets": ["/settings/secrets"],
    "tokens": ["/workspaces/{lead}/tokens"],
    "activity": ["/activity"],
    "events": ["/events"],
    "workspace-events": ["/events/{lead}"],
    "events-diff": ["/events/diff?from=0"],
    "snapshot": ["/canvas/snapshot", "/canvas/snapshot?at=999999999"],
}
PATHS = [path for paths in LISTS.values() for path in paths]
OF_ONE = {
    "health", "health-ready", "metrics", "schema", "docs", "templates", "org-templates", "approvals-pending",
    "test-token", "workspace", "workspace-state", "discover", "secret-values", "model", "viewport",
}  # fmt: skip
# With one for who asks. Whole: the version, then the rows; a drag: one statement.
HOT = {
    "/workspaces": 3,
    "/workspaces/{lead}": 2,
    "/workspaces/{lead}/state": 2,
    "/workspaces/{lead}/activity": 3,
    "/activity": 2,
    "/events": 2,
    "/canvas/viewport": 2,
    "/canvas/snapshot": 4,
}


@pytest.fixture
def as_administrator(make_user: Callable[..., User]) -> APIClient:
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {tokens.issue_operator_token(make_user('administrator'))}")
    client.get("/workspaces")  # a token's first use is noted
    return client


@pytest.fixture
def lead(make_workspace: Make) -> Workspace:
    return make_workspace("Lead")


def grow(lead: Workspace, make: Make, count: int) -> Workspace:
    """More of everything: children, agents, tokens, secrets, places, activity, and with them events."""
    for number in range(count):
        child = make(f"Child {number}", parent_id=lead.id, model="m")
        layout.place(child.id, x=1.0, y=1.0)
        tokens.issue_workspace_token(lead.id)
        store.set_for_workspace(lead.id, f"OWN_{child.id.hex}", "x", actor="test")
        store.set_for_all(f"ALL_{child.id.hex}", "x", actor="test")
        log.write(lead.id, [Entry(activity_type="agent_log")])
        agents.assign(lead.id, "m", actor="test")
        agents.remove(lead.id, reason=None, actor="test")
        workspaces.update_card(child.id, {"name": f"{number}"}, actor="test")
    return child


def queries(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        answer: Any = client.get(path)
    assert answer.status_code == 200, answer.content
    return [query["sql"] for query in captured.captured_queries]


def test_every_read_is_here() -> None:
    reads = {route for route, rules in POLICY.items() if "GET" in rules}
    assert reads == set(LISTS) | OF_ONE


@pytest.mark.parametrize("path", PATHS)
def test_a_list_costs_the_same_for_any_number_of_rows(
    as_administrator: APIClient, lead: Workspace, make_workspace: Make, path: str
) -> None:
    child = grow(lead, make_workspace, FEW)
    where = path.format(lead=lead.id, child=child.id)
    few = queries(as_administrator, where)
    shorter = len(as_administrator.get(where).content)
    grow(lead, make_workspace, MANY - FEW)
    assert len(queries(as_administrator, where)) == len(few), few
    if not path.startswith("/registry/explain"):
        assert len(as_administrator.get(where).content) > shorter


@pytest.mark.parametrize(("path", "most"), HOT.items())
def test_what_is_asked_often_asks_little(
    as_administrator: APIClient, lead: Workspace, make_workspace: Make, path: str, most: int
) -> None:
    grow(lead, make_workspace, FEW)
    ran = queries(as_administrator, path.format(lead=lead.id))
    assert len(ran) <= most, ran


def test_unchanged_costs_one_question_more_than_who_asks(as_administrator: APIClient, lead: Workspace) -> None:
    for path in ("/workspaces", "/canvas/snapshot"):
        held = {"If-None-Match": as_administrator.get(path)["ETag"]}
        with CaptureQueriesContext(connection) as captured:
            assert as_administrator.get(path, headers=held).status_code == 304
        assert len(captured) == 2


@pytest.mark.parametrize("body", [{"x": 1, "y": 2}, {"collapsed": True}, {"x": 1, "y": 2, "collapsed": False}])
def test_a_drag_is_one_statement(as_administrator: APIClient, lead: Workspace, body: dict[str, Any]) -> None:
    for _ in range(2):  # the first place, and the next
        with CaptureQueriesContext(connection) as captured:
            assert as_administrator.patch(f"/workspaces/{lead.id}", body, format="json").status_code == 200
        assert len(captured) == 2, captured.captured_queries


def test_an_agents_own_reads_ask_little(
    as_workspace: Callable[[Workspace], APIClient], lead: Workspace, make_workspace: Make
) -> None:
    child = grow(lead, make_workspace, FEW)
    agent = as_workspace(child)
    agent.get(f"/workspaces/{child.id}")
    assert len(queries(agent, f"/workspaces/{child.id}")) == 2
    assert len(queries(agent, f"/workspaces/{lead.id}")) == 3  # and may they talk?
    assert len(queries(agent, f"/registry/{child.id}/peers")) == 3
