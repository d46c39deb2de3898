"""What one agent can add to the log: cards of at most 64 KiB, ten changes a minute, and no unchanged values."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from activity.models import StructureEvent
from registry.identity import enrolment
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Workspace
from registry.structure import change_limit
from tests.conftest import JSONClient, bearer

Make = Callable[..., Workspace]
LARGEST = 64 * 1024


@pytest.fixture
def workspace(make_workspace: Make) -> Workspace:
    return make_workspace()


@pytest.fixture
def agent(workspace: Workspace, as_workspace: Callable[[Workspace], APIClient]) -> APIClient:
    return as_workspace(workspace)


def card_of(size: int) -> dict[str, str]:
    """A card that has this many bytes as compact JSON."""
    frame = len('{"name":"a","x":"é"}'.encode())
    return {"name": "a", "x": "é" + "x" * (size - frame)}


def register(agent: APIClient, workspace: Workspace, card: Any, url: str = "http://a:1") -> Any:
    return agent.post("/registry/register", {"id": str(workspace.id), "url": url, "agent_card": card})


def update_card(agent: APIClient, workspace: Workspace, card: Any) -> Any:
    return agent.post("/registry/update-card", {"workspace_id": str(workspace.id), "agent_card": card})


def events_of(workspace: Workspace) -> int:
    return StructureEvent.objects.filter(workspace_id=workspace.id).count()


def a_minute_passes() -> None:
    """Events cannot be changed, so the window moves instead."""
    change_limit.WINDOW_SECONDS = 0


@pytest.fixture(autouse=True)
def _window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_limit, "WINDOW_SECONDS", 60)


@pytest.mark.parametrize("send", [register, update_card])
def test_a_card_has_at_most_64_kib(agent: APIClient, workspace: Workspace, send: Any) -> None:
    assert send(agent, workspace, card_of(LARGEST)).status_code == 200
    before = events_of(workspace)
    answer = send(agent, workspace, card_of(LARGEST + 1))
    assert (answer.status_code, answer.json()["field"]) == (413, "agent_card")
    assert "65536 bytes" in answer.json()["error"]
    assert events_of(workspace) == before


TOO_LARGE_CARDS = {
    "many values": {"name": "a", "list": [0] * LARGEST},
    "no name": {"text": "x" * LARGEST},
    "a name of spaces": {"name": " " * LARGEST},
    "a name of several lines": {"name": "a\n" * LARGEST},
    "a long name": {"name": "a" * LARGEST},
    "a list": ["x" * LARGEST],
    "a text": "x" * LARGEST,
}


def register_with_enrolment(_: APIClient, workspace: Workspace, card: Any) -> Any:
    return register(bearer(enrolment.issue(workspace.id, may_reveal=False).token), workspace, card)


def register_openly(_: APIClient, __: Workspace, card: Any) -> Any:
    return JSONClient().post("/registry/register", {"id": str(uuid4()), "url": "http://a:1", "agent_card": card})


@pytest.mark.parametrize("card", TOO_LARGE_CARDS.values(), ids=TOO_LARGE_CARDS)
@pytest.mark.parametrize("send", [register, register_with_enrolment, register_openly, update_card])
def test_a_card_that_is_too_large_is_413_whatever_else_is_wrong(
    agent: APIClient, workspace: Workspace, send: Any, card: Any, settings: Any
) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    before = StructureEvent.objects.count()
    assert send(agent, workspace, card).status_code == 413
    assert StructureEvent.objects.count() == before


def test_unchanged_values_are_not_recorded(agent: APIClient, workspace: Workspace) -> None:
    card = {"name": "a", "skills": [{"id": "s", "n": 1.0, "large": [1e23, -1e308, 2**64 + 1], "small": [5e-324, -0.0]}]}
    register(agent, workspace, card)
    before = events_of(workspace)
    assert register(agent, workspace, card).status_code == 200
    assert update_card(agent, workspace, dict(reversed(card.items()))).status_code == 200
    assert events_of(workspace) == before
    Workspace.objects.update(status="offline")
    assert register(agent, workspace, card).status_code == 200
    last = StructureEvent.objects.latest("seq")
    assert last.payload == {"from": "offline", "url": "http://a:1"}, "the state is news, the card is not"


def test_card_and_url_change_ten_times_a_minute(
    agent: APIClient, workspace: Workspace, make_workspace: Make, as_workspace: Any, settings: Any
) -> None:
    settings.RATE_LIMIT_CHANGES = 10
    answers = [update_card(agent, workspace, {"name": f"a{n}"}) for n in range(5)]
    answers += [register(agent, workspace, {"name": "a4"}, f"http://a:{n}") for n in range(1, 6)]
    assert [answer.status_code for answer in answers] == [200] * 10
    before = events_of(workspace)
    for refused in (update_card(agent, workspace, {"name": "b"}), register(agent, workspace, {"name": "a4"})):
        assert refused.status_code == 429
        assert 1 <= refused.json()["retry_after"] <= 60
        assert refused["Retry-After"] == str(refused.json()["retry_after"])
    assert register(agent, workspace, {"name": "a4"}, "http://a:5").status_code == 200, "nothing changes"
    assert update_card(agent, workspace, {"name": "a4"}).status_code == 200
    assert events_of(workspace) == before
    other = make_workspace()
    assert update_card(as_workspace(other), other, {"name": "b"}).status_code == 200
    a_minute_passes()
    assert update_card(agent, workspace, {"name": "b"}).status_code == 200


def test_without_redis_changes_are_limited_too(
    agent: APIClient, workspace: Workspace, settings: Any, unreachable_redis: None
) -> None:
    settings.RATE_LIMIT_CHANGES = 2
    answers = [update_card(agent, workspace, {"name": f"a{n}"}).status_code for n in range(3)]
    assert answers == [200, 200, 429]


@pytest.mark.django_db(transaction=True)
def test_a_status_that_changes_too_often_is_kept(make_workspace: Make, settings: Any) -> None:
    settings.RATE_LIMIT_CHANGES = 10
    wavering, calm = make_workspace(status="online"), make_workspace(status="online")
    before = events_of(wavering)
    for n in range(100):
        assert heartbeats.flush([Beat(workspace_id=wavering.id, error_rate=0.9 * (n % 2))]) == {wavering.id: None}
    assert events_of(wavering) == before + 10
    wavering.refresh_from_db()
    assert (wavering.status, wavering.last_error_rate) == ("online", 0.9), "the numbers are true, the state is kept"
    heartbeats.flush([Beat(workspace_id=one.id, error_rate=0.9) for one in (wavering, calm)])
    assert [Workspace.objects.get(id=one.id).status for one in (wavering, calm)] == ["online", "degraded"]
    a_minute_passes()
    heartbeats.flush([Beat(workspace_id=wavering.id, error_rate=0.9)])
    assert Workspace.objects.get(id=wavering.id).status == "degraded"


@pytest.mark.django_db(transaction=True)
def test_damping_keeps_no_agent_offline(make_workspace: Make, settings: Any) -> None:
    settings.RATE_LIMIT_CHANGES = 1
    workspace = make_workspace(status="online")
    heartbeats.flush([Beat(workspace_id=workspace.id, error_rate=0.9)])
    past = timezone.now() - timedelta(hours=1)
    Workspace.objects.filter(id=workspace.id).update(status="offline", lease_expires_at=past)
    heartbeats.flush([Beat(workspace_id=workspace.id, error_rate=0.9)])
    assert Workspace.objects.get(id=workspace.id).status == "online"
