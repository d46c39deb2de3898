"""Clients of the event stream, as fakes at the network's edge."""

import json
from collections.abc import Callable
from typing import Any

from activity.listeners import Listener
from activity.outbox import Chunk, Outbox
from activity.principals import Kind, Level, Principal

OPERATOR = Principal(kind=Kind.OPERATOR, level=Level.VIEW)


class Client:
    """A Wire that keeps what is written; tests set `paused` and `unsent`."""

    def __init__(self) -> None:
        self.paused = False
        self.unsent = 0
        self.pong_queued: Callable[[], None] = lambda: None
        self.resumed: Callable[[], None] = lambda: None
        self.texts: list[str] = []
        self.code: int | None = None

    def write(self, chunk: Chunk) -> None:
        self.texts += [frame.text for frame in chunk.frames]

    def end(self, code: int) -> None:
        self.code = code

    def resume_reading(self) -> None:
        self.paused = False
        self.resumed()

    @property
    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts]

    @property
    def seqs(self) -> list[int | None]:
        return [message["seq"] for message in self.heard]


def listening(client: Client, *groups: str, member: str | None = None, principal: Principal = OPERATOR) -> Listener:
    return Listener(Outbox(client), principal, lambda: principal, member, groups)
