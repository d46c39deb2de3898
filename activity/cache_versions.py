"""Cache versions in Redis: caches in every process see at once that they may be out of date.

A cache that was loaded under a valid version is current while Redis still holds that value. Why this holds, also for
processes that crash at any time, is in docs/decisions/0015-cache-versions.md.
"""

from uuid import uuid4

from django.db import connection, transaction
from redis.exceptions import RedisError

from activity import redis

# Values are shared by all processes of a rolling update, so the prefix stays as older releases write it.
INVALID = "open:"
UNAVAILABLE_ERRORS = (RedisError, OSError)
# KEYS: the version's key. ARGV: the expected value ("" for a missing key), the new value.
REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class CacheVersion:
    """One version: its Redis key and its advisory lock.

    Every change takes lock() before invalidate() and holds it until it commits.
    """

    def __init__(self, key: str, lock_id: int) -> None:
        self.key, self.lock_id = key, lock_id

    def lock(self) -> None:
        """Take the advisory lock until the end of the transaction."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [self.lock_id])

    def invalidate(self) -> None:
        """Mark caches as out of date; call it in the change's transaction, after lock(). Never raises: if Redis is
        unavailable it is tried once more after the commit."""
        if not self._invalidate():
            transaction.on_commit(self._invalidate, robust=True)

    def validate(self, seen: str | None) -> str | None:
        """The version of data that is loaded after this call; `seen` is the value read before, None for a missing key.

        Returns None while a change is in progress, or if one just was: do not cache. Raises RedisError.
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
        """Return whether the lock is free. If so, it stays free until the end of this transaction."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [self.lock_id])
            is_free: bool = cursor.fetchone()[0]
        return is_free


# Locks are taken in this order: the hierarchy lock, workspaces by id, tokens, TOKENS, LOG. So a revocation locks its
# rows before it waits for TOKENS, and a removal takes LOG last. Rows that are written under LOG are locked before it,
# except the last use of tokens, which skips locked rows.
#
# The keys keep their old prefix "mark:". During a rolling update, processes of the previous release read and write
# them too: under another key one would miss the invalidations of the other and serve stale data.
LOG = CacheVersion("mark:log", lock_id=0x4D4F4C01)
"""Of the event log. Its lock is held from drawing `seq` to the commit, so that seq order is commit order."""

TOKENS = CacheVersion("mark:tokens", lock_id=0x4D4F4C04)
"""Of revocations of agents' tokens."""


def read(*versions: CacheVersion) -> list[str | None]:
    """The current value of each, to be stored with what is loaded after this call. None: nothing cached is valid, a
    change is in progress or Redis is unavailable. One round trip if all are valid."""
    try:
        values = redis.client().mget([version.key for version in versions])
        return [
            version.validate(None if seen is None else str(seen))
            for version, seen in zip(versions, values, strict=True)
        ]
    except UNAVAILABLE_ERRORS:
        return [None] * len(versions)
