"""What the fast lane reads by itself, the serializers read the same; what they refuse, it does not take."""

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

PROOF = PresentedToken("mol_ws_0", b"")
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
def test_a_beat(body: Any) -> None:
    found = bodies.beat(body, PROOF)
    if found is not None:
        serializer = HeartbeatBody(data=body)
        assert serializer.is_valid(), serializer.errors
        assert found == Beat(**serializer.validated_data, token=PROOF)


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
@example({"activity_type": "a2a_send", "target_id": str(OWN), "duration_ms": 5, "metadata": {"a": [1]}})
def test_an_entry(body: Any) -> None:
    found = bodies.entries(body, OWN, most=1) if not isinstance(body, list) else None
    if found is not None:
        serializer = ActivityEntry(data=body)
        assert serializer.is_valid(), serializer.errors
        fields = dict(serializer.validated_data)
        metadata = fields.pop("metadata", None)
        if fields.get("request_body") is None:
            fields["request_body"] = metadata
        assert found == [Entry(**fields, source_id=OWN)]


def test_the_plainest_of_all_are_taken() -> None:
    """Otherwise everything would go the ordinary way, and these tests would say nothing."""
    beat = {"workspace_id": str(OWN), "error_rate": 0.1, "current_task": "writing", "uptime_seconds": 5}
    assert bodies.beat(beat, PROOF) is not None
    entry = {"activity_type": "agent_log", "summary": "did it", "request_body": {"a": 1}, "duration_ms": 3}
    assert bodies.entries([entry] * 3, OWN, most=3) == [bodies.entries(entry, OWN, most=1)[0]] * 3  # type: ignore[index]
    assert bodies.entries([entry] * 4, OWN, most=3) is None
    assert bodies.entries([], OWN, most=3) is None


@given(some.binary(max_size=40) | some.text(max_size=40).map(str.encode))
def test_strict_json_is_json(body: bytes) -> None:
    try:
        value = strict_json.parse(body)
    except strict_json.Malformed:
        return
    assert json.loads(body or b"{}") == value


def test_uuids_as_they_are_written() -> None:
    assert bodies.uuid(str(OWN)) == OWN
    oddities: list[Any] = [OWN.hex, "", 5, None, [], "g" * 36, UUID(int=0), "-" * 4 + OWN.hex]
    for odd in oddities:
        assert bodies.uuid(odd) is None
