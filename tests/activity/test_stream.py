"""The position of a stream: what was seen is not sent again, what was missed is read from the log."""

from unittest.mock import AsyncMock

import pytest

from activity import stream
from activity.stream import EventStream


@pytest.fixture
def at_five() -> EventStream:
    consumer = EventStream()
    consumer.position = 5
    consumer.send = AsyncMock()
    return consumer


def sent(consumer: EventStream) -> list[str]:
    return [call.args[0] for call in consumer.send.await_args_list]


async def test_what_was_seen_is_not_sent_again(at_five: EventStream) -> None:
    await at_five.events({"after": 4, "frames": [[5, "five"], [6, "six"], [None, "passing"]]})
    await at_five.events({"after": 5, "frames": [[6, "six"]]})
    assert sent(at_five) == ["six", "passing"]
    assert at_five.position == 6


async def test_a_gap_is_filled_from_the_log_in_order(at_five: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
    log = {6: "six", 7: "seven"}
    monkeypatch.setattr(stream, "_backlog", lambda position: [(s, log[s]) for s in sorted(log) if s > position])
    await at_five.events({"after": 6, "frames": [[7, "seven"]]})
    assert sent(at_five) == ["six", "seven"]


async def test_what_is_not_persisted_does_not_move_the_position(at_five: EventStream) -> None:
    await at_five.events({"after": None, "frames": [[None, "passing"]]})
    assert (sent(at_five), at_five.position) == (["passing"], 5)


async def test_a_revoked_credential_ends_the_stream(at_five: EventStream) -> None:
    at_five.close = AsyncMock()
    await at_five.revoked({"type": "revoked"})
    at_five.close.assert_awaited_once_with(stream.NOT_ALLOWED)
