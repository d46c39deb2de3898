"""Marks in Redis by which caches in every process see at once that they may be out of date.

A settled mark says: whoever loads now and finds this very value again later has missed nothing. Why that is so,
whichever process dies when, stands in docs/decisions/0015-cache-versions.md.
"""

from uuid import uuid4

from django.db import connection, transaction
from redis.exceptions import RedisError

from activity import redis

INVALID = "open:"
UNAVAILABLE_ERRORS = (RedisError, OSError)
# KEYS: the mark. ARGV: what was seen there ("" for a missing one), the new value.
REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class CacheVersion:
    """`lock` is the transaction-scoped advisory lock that every change holds from before open() until it commits."""

    def __init__(self, key: str, lock_id: int) -> None:
        self.key, self.lock_id = key, lock_id

    def lock(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [self.lock_id])

    def invalidate(self) -> None:
        """In the change's transaction, under the lock. Redis being away is no reason to change nothing: after the
        commit it is tried again."""
        if not self._invalidate():
            transaction.on_commit(self._invalidate, robust=True)

    def validate(self, seen: str | None) -> str | None:
        """The value under which to keep what is loaded from now on. `seen` was there before; None for a missing mark.

        None says that a change is under way, or just was. Raises RedisError.
        """
        if seen is not None and not seen.startswith(INVALID):
            return seen
        value = str(uuid4())
        with transaction.atomic():
            is_replaced = self._is_unlocked() and redis.client().eval(REPLACE, 1, self.key, seen or "", value)
        return value if is_replaced else None

    def _invalidate(self) -> bool:
        try:
            redis.client().set(self.key, f"{INVALID}{uuid4()}")
        except UNAVAILABLE_ERRORS:
            return False
        return True

    def _is_unlocked(self) -> bool:
        """And, until the end of this transaction, nobody will."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [self.lock_id])
            is_free: bool = cursor.fetchone()[0]
        return is_free


# Locks are waited for in this order, never back: the hierarchy lock, workspaces by id, tokens, TOKENS, LOG. So a
# revocation has its rows before it waits for TOKENS, and a removal goes on to LOG. What is written under LOG has been
# locked before, but for the last use of tokens, which waits for nobody.
LOG = CacheVersion("mark:log", lock_id=0x4D4F4C01)
"""For events. Its lock is held from drawing `seq` to commit, so that seq order is commit order."""

TOKENS = CacheVersion("mark:tokens", lock_id=0x4D4F4C04)
"""For revocations of agents' tokens."""


def read(*versions: CacheVersion) -> list[str | None]:
    """Their values, each to be remembered with what is loaded after this; None: it holds for nothing in memory."""
    try:
        seen = redis.client().mget([version.key for version in versions])
        return [
            version.validate(None if one is None else str(one)) for version, one in zip(versions, seen, strict=True)
        ]
    except UNAVAILABLE_ERRORS:
        return [None] * len(versions)
