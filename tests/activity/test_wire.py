"""Our JSON renderer produces the same output as DRF's."""

import enum
import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import orjson
import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orjson import Fragment
from rest_framework import renderers
from rest_framework.exceptions import ErrorDetail
from rest_framework.serializers import Serializer
from rest_framework.test import APIClient
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from activity.log import Entry, write
from activity.wire import JSONRenderer
from registry.models import Status, Workspace
from registry.secrets import store

Pair = namedtuple("Pair", "a b")
ZERO = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


class Size(enum.IntEnum):
    LARGE = 3


def ours(value: Any) -> Any:
    return exactly(JSONRenderer().render(value))


def theirs(value: Any) -> Any:
    return exactly(renderers.JSONRenderer().render(value))


def exactly(text: bytes) -> Any:
    """Parse so that 1 and 1.0 differ, as do floats with different digits."""
    return json.loads(text, parse_float=lambda digits: ("float", repr(float(digits))))


@pytest.mark.parametrize(
    "value",
    [
        [], {}, (), "", 0, -0.0, 1.0, 1, True, False, [None], 1e16, 1e-7, 0.1, 1.7976931348623157e308, 5e-324,
        2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 2**64, 10**40, -(10**40),
        "ümläut ✓ 😀", "\u2028\u2029", "\x01\x1f\x7f\"\\/", "</script>",
        ZERO, ZERO.replace(microsecond=1), ZERO.replace(microsecond=120000), ZERO.replace(tzinfo=None),
        ZERO.astimezone(ZoneInfo("UTC")), ZERO.astimezone(ZoneInfo("Asia/Kolkata")),
        ZERO.astimezone(timezone(timedelta(hours=-3))), date(2026, 1, 31), time(12, 30), time(12, 30, 0, 5),
        timedelta(days=1, microseconds=5), UUID(int=5), Decimal("1.10"), Decimal("1E+3"),
        Status.ONLINE, Size.LARGE, gettext_lazy("Yes"), mark_safe("<b>"), ErrorDetail("wrong", code="x"),
        b"bytes", Pair(1, "b"), OrderedDict(b=1, a=2), {1},
        ReturnDict({"a": 1}, serializer=Serializer()), ReturnList([1], serializer=Serializer()),
        {Status.ONLINE: 1}, {2: "a", None: "b", True: "c", 1.5: "d"}, {"deep": [{"er": (1, [UUID(int=1)])}]},
    ],
    ids=repr,
)  # fmt: skip
def test_every_kind_of_value(value: Any) -> None:
    assert ours(value) == theirs(value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.uuids()
    | st.decimals(-(10**300), 10**300)
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


# Generating values is slow on a busy machine, which says nothing about the renderer.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values.filter(lambda value: value is not None))
def test_any_value(value: Any) -> None:
    assert ours(value) == theirs(value)


def test_none_is_an_empty_body() -> None:
    assert JSONRenderer().render(None) == renderers.JSONRenderer().render(None) == b""


def test_nan_and_infinity_are_null() -> None:
    """DRF's renderer fails with 500."""
    assert JSONRenderer().render([float("nan"), float("-inf")]) == b"[null,null]"


def test_types_without_json_are_an_error() -> None:
    with pytest.raises(TypeError):
        JSONRenderer().render({"x": object()})


def test_it_is_compact() -> None:
    assert JSONRenderer().render({"a": [1, "ü"], "b": ZERO}) == '{"a":[1,"ü"],"b":"2026-01-31T12:00:00Z"}'.encode()


READS = [
    "/workspaces", "/workspaces/{id}", "/workspaces/{id}/state", "/workspaces/{id}/agents", "/workspaces/{id}/secrets",
    "/workspaces/{id}/activity", "/registry/{id}/peers", "/activity", "/events", "/events/{id}", "/events/diff?from=0",
    "/registry/explain?caller={id}&target={id}", "/canvas/viewport", "/settings/secrets", "/templates",
    "/workspaces/nobody", "/workspaces/{unknown}", "/events?limit=0", "/health/ready",
]  # fmt: skip


@pytest.mark.parametrize("moment", [ZERO, ZERO.replace(microsecond=120000)])
def test_times_in_lists_have_the_usual_format(
    as_operator: APIClient, make_workspace: Callable[..., Workspace], moment: datetime
) -> None:
    """Lists get times from PostgreSQL as text."""
    make_workspace()
    Workspace.objects.update(last_heartbeat_at=moment)
    (row,) = as_operator.get("/workspaces").json()
    assert row["last_heartbeat_at"] == theirs(moment)


@pytest.mark.parametrize("path", READS)
def test_real_responses(as_operator: APIClient, make_workspace: Callable[..., Workspace], path: str) -> None:
    workspace, _peer = make_workspace("One", model="m"), make_workspace("Other")
    card = {"name": "ü", "big": 10**30, "small": 1.50, "list": [1, 1.0, None, True, "\u2028"]}
    Workspace.objects.update(agent_card=card, last_error_rate=0.5, last_heartbeat_at=ZERO)
    store.set_for_workspace(workspace.id, "KEY", "x", actor="test")
    write(workspace.id, [Entry(activity_type="agent_log", request_body={"n": [1, 2.5]}, duration_ms=3)])
    answer: Any = as_operator.get(path.format(id=workspace.id, unknown=uuid4()))
    assert exactly(answer.content) == theirs(without_fragments(answer.data))


def without_fragments(value: Any) -> Any:
    """JSON fragments as values."""
    if isinstance(value, Fragment):
        return json.loads(orjson.dumps(value))
    if isinstance(value, dict):
        return {name: without_fragments(item) for name, item in value.items()}
    return [without_fragments(item) for item in value] if isinstance(value, list) else value
