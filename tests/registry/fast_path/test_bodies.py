"""What the fast path reads itself, the serializers read alike; what they refuse, it does not accept."""

import json
from typing import Any
from uuid import UUID, uuid4

from hypothesis import example, given
from hypothesis import strategies as some

from activity import strict_json
from activity.log import Entry
from activity.models import ActivityStatus, ActivityType
from activity.serializers import ActivityEntry
from registry.api.serializers import HeartbeatBody
from registry.fast_path import bodies
from registry.identity.tokens import PresentedToken
from registry.liveness.heartbeats import Beat

TOKEN = PresentedToken("mol_ws_0", b"")
OWN = uuid4()

texts = some.text(max_size=5) | some.sampled_from(["", " x", "x\n", "x" * 4001, "é", "\u2003"])
numbers = some.sampled_from([0, 1, -1, 0.0, 0.5, 1.0, 1.1, True, "1", None, 2**31 - 1, 2**31, 1e300])
ids = some.sampled_from([str(OWN), str(OWN).upper(), OWN.hex, f"urn:uuid:{OWN}", "x" * 36, 7, None])
anything = some.recursive(some.none() | texts | numbers, lambda inner: some.lists(inner, max_size=2), max_leaves=3)


def objects(**fields: Any) -> Any:
    """Objects with some of these fields, each with what it should hold or with anything."""
    optional = {name: strategy | anything for name, strategy in fields.items()}
    return some.fixed_dictionaries({}, optional=optional | {"unknown": anything}) | anything


@given(
    objects(
        workspace_id=ids,
        error_rate=numbers,
        sample_error=texts,
        active_tasks=numbers,
        uptime_seconds=numbers,
        current_task=texts,
    )
)
@example({"workspace_id": str(OWN)})
@example({"workspace_id": str(OWN), "error_rate": 1, "sample_error": "é", "active_tasks": 2**31 - 1})
def test_a_heartbeat_that_the_fast_path_reads_is_valid_and_equal(body: Any) -> None:
    found = bodies.beat(body, TOKEN)
    if found is not None:
        serializer = HeartbeatBody(data=body)
        assert serializer.is_valid(), serializer.errors
        assert found == Beat(**serializer.validated_data, token=TOKEN)


@given(
    objects(
        activity_type=some.sampled_from([*ActivityType.values, "other"]),
        status=some.sampled_from([*ActivityStatus.values, "other"]),
        method=texts | some.just("m" * 256),
        summary=texts,
        error_detail=texts | some.just("d" * (64 * 1024 + 1)),
        target_id=ids,
        source_id=ids,
        duration_ms=numbers,
        request_body=anything,
        response_body=anything,
        metadata=anything,
    )
)
@example({"activity_type": "error"})
@example({"activity_type": "error", "source_id": None, "target_id": "", "status": "", "duration_ms": ""})
@example({"activity_type": "a2a_send", "target_id": str(OWN), "duration_ms": 5, "metadata": {"a": [1]}})
def test_an_entry_that_the_fast_path_reads_is_valid_and_equal(body: Any) -> None:
    found = bodies.entries(body, OWN, most=1) if not isinstance(body, list) else None
    if found is not None:
        serializer = ActivityEntry(data=body)
        assert serializer.is_valid(), serializer.errors
        fields = dict(serializer.validated_data)
        metadata = fields.pop("metadata", None)
        if fields.get("request_body") is None:
            fields["request_body"] = metadata
        assert fields.pop("source_id", None) is None
        assert found == [Entry(**fields, source_id=OWN)]


def test_ordinary_bodies_are_read_by_the_fast_path() -> None:
    """Otherwise the tests above would compare nothing."""
    beat = {"workspace_id": str(OWN), "error_rate": 0.1, "current_task": "writing", "uptime_seconds": 5}
    assert bodies.beat(beat, TOKEN) is not None
    entry = {"activity_type": "agent_log", "summary": "did it", "request_body": {"a": 1}, "duration_ms": 3}
    assert bodies.entries([entry] * 3, OWN, most=3) == [bodies.entries(entry, OWN, most=1)[0]] * 3  # type: ignore[index]
    assert bodies.entries([entry] * 4, OWN, most=3) is None
    assert bodies.entries([], OWN, most=3) is None


@given(some.binary(max_size=40) | some.text(max_size=40).map(str.encode))
def test_what_strict_json_accepts_is_json_with_the_same_value(body: bytes) -> None:
    try:
        value = strict_json.parse(body)
    except strict_json.Malformed:
        return
    assert json.loads(body or b"{}") == value


def test_only_canonical_uuids_are_read() -> None:
    assert bodies.uuid(str(OWN)) == OWN
    oddities: list[Any] = [OWN.hex, "", 5, None, [], "g" * 36, UUID(int=0), "-" * 4 + OWN.hex]
    for odd in oddities:
        assert bodies.uuid(odd) is None
