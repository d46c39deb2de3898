"""Marks in Redis by which caches in every process see at once that they may be out of date.

A mark is opened before a change commits, and closed with a new value after it. While it is open, and whenever
it is missing, nobody can tell: caches ask the database. So a reader that finds the value it knows has missed
nothing, whichever process changed what, and whenever that process died.
"""

from contextlib import suppress
from uuid import uuid4

from redis.exceptions import RedisError

from activity import redis

OPEN = "open:"
UNREADABLE = OPEN
"""Stands for a value when Redis does not answer: nobody can tell."""

# Longer than a change takes from opening to commit; after a rollback caches are of no use for so long.
OPEN_SECONDS = 10
# KEYS: the mark. ARGV: what the closer opened it with, the new value. Whoever opened it later closes it later.
CLOSE = """
local now = redis.call('GET', KEYS[1])
if not now or now == ARGV[1] or string.sub(now, 1, 5) ~= 'open:' then
  redis.call('SET', KEYS[1], ARGV[2])
end
"""


class Mark:
    def __init__(self, key: str) -> None:
        self.key = key

    def open(self) -> str:
        """Before the change commits. Returns what close() needs. Without Redis nobody can read the mark either."""
        opened = f"{OPEN}{uuid4()}"
        with suppress(RedisError, OSError):
            redis.client().set(self.key, opened, ex=OPEN_SECONDS)
        return opened

    def close(self, opened: str, value: str) -> None:
        """After the commit."""
        redis.client().eval(CLOSE, 1, self.key, opened, value)

    def begin(self, value: str) -> None:
        """Give a missing mark its first value. It must have been missing before `value` was read."""
        redis.client().set(self.key, value, nx=True)


LOG = Mark("mark:log")
"""Its value is the position of the log's last event."""

TOKENS = Mark("mark:tokens")
"""Its value changes whenever a token is revoked."""


def read(*marks: Mark) -> list[str | None]:
    """Their values, all of one moment; OPEN… while a change is under way, None for a missing one. Raises RedisError."""
    return [None if value is None else str(value) for value in redis.client().mget([mark.key for mark in marks])]


def is_settled(value: str | None) -> bool:
    return value is not None and not value.startswith(OPEN)
