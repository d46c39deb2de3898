"""ShortCache: the result of a read that every page needs, shared by all requests of a process for a few seconds."""

import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")
SECONDS = 5.0


class Kept(NamedTuple, Generic[Value]):
    """A value and when it was read, as time.monotonic()."""

    value: Value
    at: float


class ShortCache(Generic[Value]):
    """Calling it returns what `read` returned at most `seconds` ago.

    One thread reads at a time, the others wait for it. An exception is raised to its caller, and nothing is kept.
    """

    def __init__(self, read: Callable[[], Value], seconds: float = SECONDS) -> None:
        self.read, self.seconds = read, seconds
        self.kept: Kept[Value] | None = None
        self.reading = threading.Lock()

    def __call__(self) -> Value:
        kept = self._recent()
        if kept is None:
            with self.reading:
                kept = self._recent() or self.keep(self.read())
        return kept.value

    def keep(self, value: Value) -> Kept[Value]:
        """Use a value that was just read elsewhere."""
        self.kept = Kept(value, time.monotonic())
        return self.kept

    def forget(self) -> None:
        """Read again for the next call."""
        self.kept = None

    def _recent(self) -> Kept[Value] | None:
        kept = self.kept
        return kept if kept is not None and time.monotonic() - kept.at < self.seconds else None
