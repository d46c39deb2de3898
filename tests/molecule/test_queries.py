"""Query counts of reads: independent of the number of rows, and bounded for frequent requests."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as WebClient
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from activity import log
from activity.hub import Hub
from activity.log import Entry
from activity.models import StructureEvent
from activity.outbox import Outbox
from canvas import layout
from molecule.policy import POLICY
from registry.config import files
from registry.consumers import OrganisationStream
from registry.identity import tokens
from registry.models import Workspace
from registry.organisation import agents, removal, workspaces
from registry.secrets import store
from tests.activity.sockets import Client

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
    "files": ["/workspaces/{lead}/files"],
    "file-revisions": ["/workspaces/{lead}/file-revisions?path=a.md"],
    "shared-context": ["/workspaces/{child}/shared-context"],
    "activity": ["/activity"],
    "events": ["/events"],
    "workspace-events": ["/events/{lead}"],
    "events-diff": ["/events/diff?from=0"],
    "snapshot": ["/canvas/snapshot", "/canvas/snapshot?at=999999999"],
}
PATHS = [path for paths in LISTS.values() for path in paths]
SINGLE_OBJECT_READS = {
    "health", "health-ready", "metrics", "schema", "docs", "templates", "template", "org-templates",
    "approvals-pending", "export-bundle",
    "test-token", "workspace", "workspace-state", "availability", "connection", "attention", "overview", "discover",
    "secret-values", "model", "search", "viewport", "file", "file-revision", "agent-settings",
}  # fmt: skip
# Maximum queries, including one for authentication. Full lists read the cache version, then the rows.
MAX_QUERIES = {
    "/workspaces": 3,
    "/workspaces/{lead}": 3,
    "/workspaces/{lead}/state": 2,
    "/workspaces/{lead}/activity": 3,
    "/activity": 2,
    "/events": 2,
    "/canvas/viewport": 2,
    "/attention": 2,
    "/canvas/snapshot": 4,
}


@pytest.fixture
def as_administrator(make_user: Callable[..., User]) -> APIClient:
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {tokens.issue_operator_token(make_user('administrator'))}")
    client.get("/workspaces")  # the first use of a token is recorded, which costs a query
    return client


@pytest.fixture
def lead(make_workspace: Make) -> Workspace:
    return make_workspace("Lead")


def add_rows(lead: Workspace, make: Make, count: int) -> Workspace:
    """Add `count` children with agents, tokens, secrets, positions, activity and events; return the last child."""
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
        for path in ("a.md", f"{child.id}.md"):
            files.write(lead.id, path, child.id.bytes, actor="test")
    shared = ", ".join(entry["path"] for entry in files.listing(lead.id))
    files.write(lead.id, "config.yaml", f"shared_context: [{shared}]".encode(), actor="test")
    return child


def queries(client: WebClient, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        response: Any = client.get(path)
    assert response.status_code == 200, response.content
    return [query["sql"] for query in captured.captured_queries]


def test_every_get_route_is_listed_in_this_file() -> None:
    reads = {route for route, rules in POLICY.items() if "GET" in rules}
    assert reads == set(LISTS) | SINGLE_OBJECT_READS


@pytest.mark.parametrize("path", PATHS)
def test_the_query_count_of_a_list_does_not_depend_on_its_length(
    as_administrator: APIClient, lead: Workspace, make_workspace: Make, path: str
) -> None:
    child = add_rows(lead, make_workspace, FEW)
    url = path.format(lead=lead.id, child=child.id)
    few = queries(as_administrator, url)
    shorter = len(as_administrator.get(url).content)
    add_rows(lead, make_workspace, MANY - FEW)
    assert len(queries(as_administrator, url)) == len(few), few
    if not path.startswith("/registry/explain"):
        assert len(as_administrator.get(url).content) > shorter


@pytest.mark.parametrize(("path", "maximum"), MAX_QUERIES.items())
def test_frequent_requests_stay_within_their_query_limit(
    as_administrator: APIClient, lead: Workspace, make_workspace: Make, path: str, maximum: int
) -> None:
    add_rows(lead, make_workspace, FEW)
    executed = queries(as_administrator, path.format(lead=lead.id))
    assert len(executed) <= maximum, executed


def test_a_304_costs_one_query_besides_authentication(as_administrator: APIClient, lead: Workspace) -> None:
    for path in ("/workspaces", "/canvas/snapshot"):
        headers = {"If-None-Match": as_administrator.get(path)["ETag"]}
        with CaptureQueriesContext(connection) as captured:
            assert as_administrator.get(path, headers=headers).status_code == 304
        assert len(captured) == 2


@pytest.mark.parametrize("body", [{"x": 1, "y": 2}, {"collapsed": True}, {"x": 1, "y": 2, "collapsed": False}])
def test_saving_a_canvas_position_is_one_statement(
    as_administrator: APIClient, lead: Workspace, body: dict[str, Any]
) -> None:
    for _ in range(2):  # insert, then update
        with CaptureQueriesContext(connection) as captured:
            assert as_administrator.patch(f"/workspaces/{lead.id}", body, format="json").status_code == 200
        assert len(captured) == 2, captured.captured_queries


def test_reads_by_an_agent_need_two_or_three_queries(
    as_workspace: Callable[[Workspace], APIClient], lead: Workspace, make_workspace: Make
) -> None:
    child = add_rows(lead, make_workspace, FEW)
    agent = as_workspace(child)
    agent.get(f"/workspaces/{child.id}")
    assert len(queries(agent, f"/workspaces/{child.id}")) == 2
    assert len(queries(agent, f"/workspaces/{lead.id}")) == 3  # one more: the access check
    assert len(queries(agent, f"/registry/{child.id}/peers")) == 3


SOCKET_READS: dict[str, Callable[[OrganisationStream], object]] = {
    "who it is": lambda socket: socket.identify(),
    "the hierarchy": lambda socket: socket.hub.audience.load(),
    "a replay": lambda socket: socket._page(StructureEvent.objects.filter(seq__gt=0)),
    "whether it may stay": lambda socket: socket.hub.audience.unauthorized([socket.listener]),
}
# Maximum queries. An agent's replay reads its peers and, of removed ones, their parents besides its events.
MAX_SOCKET_QUERIES = {
    "operator": {"who it is": 1, "the hierarchy": 1, "a replay": 1, "whether it may stay": 2},
    "agent": {"who it is": 1, "the hierarchy": 1, "a replay": 3, "whether it may stay": 1},
}


def opened_socket(token: str) -> OrganisationStream:
    """A socket on /ws as it is when its replay begins."""
    socket = OrganisationStream()
    socket.may_listen = lambda principal: True
    headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {token}".encode())]
    socket.scope = {"headers": headers, "query_string": b"since=0", "cookies": {}}
    socket.hub, socket.outbox = Hub(socket.audience()), Outbox(Client())
    socket.principal = socket.identify()
    socket.listener = socket._listener()
    socket.hub.audience.load()
    return socket


@pytest.mark.parametrize("read", SOCKET_READS)
@pytest.mark.parametrize("who", MAX_SOCKET_QUERIES)
def test_what_a_socket_reads_does_not_depend_on_how_much_there_is(
    make_user: Callable[..., User], lead: Workspace, make_workspace: Make, who: str, read: str
) -> None:
    counts = []
    child = add_rows(lead, make_workspace, FEW)
    issued = {
        "operator": tokens.issue_operator_token(make_user("administrator")),
        "agent": tokens.issue_workspace_token(child.id).text,
    }
    for more in (0, MANY - FEW):
        if more:
            add_rows(lead, make_workspace, more)
        removal.remove(make_workspace(parent_id=lead.id).id, actor="test", confirm=True)
        socket = opened_socket(issued[who])
        with CaptureQueriesContext(connection) as captured:
            SOCKET_READS[read](socket)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= MAX_SOCKET_QUERIES[who][read], captured.captured_queries
