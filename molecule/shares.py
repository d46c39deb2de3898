"""How a web process divides its connections to PostgreSQL: one for each thread that may need one."""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from asgiref.typing import HTTPScope

# Threads besides those that run Django's requests. Each queue of the fast path has one; activity.hub.THREADS is for
# streams.
OTHER_THREADS = {
    "heartbeats": 1,
    "activity": 1,
    "discovery": 1,
    "credentials": 1,
    "streams": 4,
    "the event loop's queries": 1,
    "the process's own heartbeat": 1,
    "/metrics": 1,
}
TIME_TRAVEL = re.compile(rb"(?:^|&)at=")
READING = ("GET", "HEAD", "OPTIONS")
LOGIN_PATH = "/admin/login/"


class Shares(NamedTuple):
    """How many threads answer each kind of request. No kind ever waits for the threads of another.

    Logins have a thread of their own: a password keeps one busy for long, and strangers may send as many as they like.
    """

    reads: int
    writes: int
    slow_reads: int
    logins: int = 1


MINIMUM_POOL_SIZE = sum(OTHER_THREADS.values()) + len(Shares._fields)


def shares(pool_size: int) -> Shares:
    """What is left for requests: one is for logins, a fifth for slow reads, the rest in halves.

    Needs MINIMUM_POOL_SIZE.
    """
    left = pool_size - sum(OTHER_THREADS.values()) - 1
    slow_reads = max(1, left // 5)
    writes = max(1, (left - slow_reads) // 2)
    return Shares(left - slow_reads - writes, writes, slow_reads)


def share_of(scope: HTTPScope) -> str:
    """The name of a request's share: a field of Shares."""
    if scope["method"] not in READING:
        return "logins" if scope["path"] == LOGIN_PATH else "writes"
    return "slow_reads" if _is_slow(scope["path"], scope["query_string"]) else "reads"


def _is_slow(path: str, query: bytes) -> bool:
    """Reads of the logs and of the past, and lists of the admin with filters or a search."""
    if path.startswith("/admin/"):
        return bool(query) and path != LOGIN_PATH
    is_of_log = path.startswith("/events") or path.endswith("/activity")
    return is_of_log or TIME_TRAVEL.search(unquote_to_bytes(query)) is not None
