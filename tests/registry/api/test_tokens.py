"""The REST API of workspace tokens: issue, list, rotate, revoke."""

from collections.abc import Callable
from uuid import uuid4

from rest_framework.test import APIClient

from registry.identity import tokens
from registry.models import Workspace
from tests.conftest import bearer

Make = Callable[..., Workspace]


def test_an_agent_rotates_its_token(make_workspace: Make) -> None:
    workspace = make_workspace()
    issued = tokens.issue_workspace_token(workspace.id)
    old, path = bearer(issued.text), f"/workspaces/{workspace.id}/tokens"
    answer = old.post(path, {"label": "new"})
    assert (answer.status_code, set(answer.json())) == (201, {"id", "auth_token", "prefix"})
    new = bearer(answer.json()["auth_token"])
    assert old.get(path).status_code == new.get(path).status_code == 200
    assert new.delete(f"{path}/{issued.id}").json() == {"status": "revoked", "id": str(issued.id)}
    assert old.get(path).status_code == 401
    listed = new.get(path).json()
    assert listed["count"] == 1
    (row,) = listed["tokens"]
    assert row["label"] == "new"
    assert set(row) == {"id", "kind", "prefix", "label", "created_at", "last_used_at", "expires_at", "may_reveal"}
    assert answer.json()["auth_token"] not in new.get(path).content.decode()


def test_only_administrators_and_the_workspace_itself_may_use_tokens(
    as_operator: APIClient, as_administrator: APIClient, make_workspace: Make
) -> None:
    one, two = make_workspace(), make_workspace()
    path = f"/workspaces/{one.id}/tokens"
    other = tokens.issue_workspace_token(two.id)
    assert as_operator.get(path).status_code == as_operator.post(path, {}).status_code == 403
    assert bearer(other.text).post(path, {}).status_code == 403
    assert as_administrator.delete(f"{path}/{other.id}").status_code == 404, "a token of another workspace"
    assert as_administrator.delete(f"{path}/{uuid4()}").status_code == 404
    assert as_administrator.delete(f"{path}/x").status_code == 400
    for body in ({"expires_at": "2001-01-01T00:00:00Z"}, {"label": "x" * 101}, {"expires_at": "soon"}):
        assert as_administrator.post(path, body).status_code == 400
