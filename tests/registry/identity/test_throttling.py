"""Rate limits per credential; login attempts per account and address."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from rest_framework.test import APIClient

from registry.identity import rate_limits, tokens
from registry.identity.rate_limits import RateLimit
from registry.models import Workspace
from tests.conftest import bearer

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]


def statuses(client: APIClient, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def test_over_the_rate_limit_the_answer_says_when_to_try_again(
    as_viewer: APIClient, as_operator: APIClient, settings: Any
) -> None:
    settings.RATE_LIMIT = 3
    assert statuses(as_viewer, "/templates", 5) == [200, 200, 200, 429, 429]
    answer = as_viewer.get("/templates")
    assert 1 <= answer.json()["retry_after"] <= 60
    assert answer["Retry-After"] == str(answer.json()["retry_after"])
    assert as_operator.get("/templates").status_code == 200, "another credential has its own limit"
    assert statuses(as_viewer, "/health", 5) == [200] * 5


def test_heartbeats_have_their_own_rate_limit(make_workspace: Make, as_workspace: As, settings: Any) -> None:
    settings.RATE_LIMIT, settings.RATE_LIMIT_HEARTBEATS = 1, 2
    workspace = make_workspace()
    agent = as_workspace(workspace)
    assert statuses(agent, f"/workspaces/{workspace.id}/state", 2) == [200, 429]
    beats = [agent.post("/registry/heartbeat", {"workspace_id": str(workspace.id)}).status_code for _ in range(3)]
    assert beats == [200, 200, 429]


def test_without_redis_nothing_is_limited(as_viewer: APIClient, settings: Any, unreachable_redis: None) -> None:
    settings.RATE_LIMIT = 1
    assert statuses(as_viewer, "/templates", 3) == [200, 200, 200]


def test_unauthenticated_requests_are_limited_by_address(
    anonymous: APIClient, as_viewer: APIClient, make_workspace: Make, settings: Any
) -> None:
    settings.RATE_LIMIT_STRANGERS = 3
    assert statuses(anonymous, "/templates", 2) == [401, 401]
    guessing = bearer("mol_op_000000000000_" + "x" * 43)
    assert statuses(guessing, "/templates", 3) == [401, 429, 429]
    answer = guessing.get("/templates")
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert statuses(as_viewer, "/templates", 5) == [200] * 5, "a valid credential from the same address is not affected"
    beat = {"workspace_id": str(make_workspace().id)}
    assert anonymous.post("/registry/heartbeat", beat).status_code == 429, "all routes together"
    assert rate_limits.STRANGERS.is_over("127.0.0.1"), "known here without asking Redis"
    assert not rate_limits.REQUESTS.is_over("127.0.0.1")


def test_requests_without_an_identity_are_not_limited() -> None:
    """As in open mode, where there is no token."""
    limit = RateLimit("test", "RATE_LIMIT_STRANGERS")
    limit.charge([(None, None), ("somebody", "somebody")])
    assert limit.counts == {"somebody": 1}
    with override_settings(RATE_LIMIT_STRANGERS=1):
        assert limit.admit([None, None, "somebody", "new", "new"]) == [True, True, False, True, False]
        assert limit.is_over("somebody")
        limit.window -= 1
        assert not limit.is_over("somebody"), "a new minute has begun"


@pytest.fixture
def person(make_user: Callable[..., User]) -> User:
    user = make_user("viewer")
    user.set_password("right")
    user.save()
    return user


def log_in(user: User, password: str, address: str = "10.0.0.1") -> int:
    form = {"username": user.username, "password": password}
    return Client(REMOTE_ADDR=address).post("/admin/login/", form).status_code


def test_guessing_a_password_is_slowed_per_account_and_address(
    person: User, make_user: Callable[..., User], settings: Any
) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    assert [log_in(person, "wrong") for _ in range(4)] == [200, 200, 429, 429]
    assert log_in(person, "right") == 429
    assert log_in(person, "right", "10.0.0.2") == 302, "another address is not locked out"
    other = make_user("viewer")
    other.set_password("right")
    other.save()
    assert log_in(other, "right") == 302


def test_the_groups_exist_and_have_their_levels(db: None) -> None:
    levels = {}
    for name in ("viewers", "operators", "administrators"):
        user = User.objects.create_user(name)
        user.groups.add(user.groups.model.objects.get(name=name))
        token = tokens.issue_operator_token(user)
        levels[name] = tokens.principal_for_token(token)[1].level.name
        client = bearer(token)
        assert client.get("/workspaces").status_code == 200
        assert client.post("/workspaces", {"name": "x"}).status_code == (403 if name == "viewers" else 201)
        secret = client.post("/settings/secrets", {"key": "K", "value": "v"}).status_code
        assert secret == (200 if name == "administrators" else 403)
    assert levels == {"viewers": "VIEW", "operators": "ACT", "administrators": "ADMINISTER"}


def test_open_mode_has_no_rate_limits(anonymous: APIClient, make_user: Callable[..., User], settings: Any) -> None:
    """Requests have no credential there. A user who is called "open" is limited as usual."""
    settings.RATE_LIMIT = 1
    namesake = make_user("viewer")
    User.objects.filter(id=namesake.id).update(username="open")
    assert statuses(bearer(tokens.issue_operator_token(namesake)), "/templates", 2) == [200, 429]
    settings.MOLECULE_OPEN = True
    assert statuses(anonymous, "/templates", 3) == [200, 200, 200]
