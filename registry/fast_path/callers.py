"""Whether a token is anybody's, for decisions before a body is read. It gives no access: that is checked later."""

import time
from collections.abc import Collection, Sequence

from activity.group_commit import GroupCommit
from registry.identity import tokens
from registry.identity.tokens import PresentedToken

BATCH = 2048
CAPACITY = 8192
MAX_WAIT_SECONDS = 2.0
# A token that was revoked meanwhile is refused by the route itself, and a new one cannot have been shown before.
REMEMBERED_SECONDS = 60.0
MOST_REMEMBERED = 20_000


class Callers:
    """Asks the database for many requests at once, in one query, and remembers its answers in this process."""

    def __init__(self) -> None:
        self.lookups = GroupCommit(
            "credentials", _are_known, batch=BATCH, capacity=CAPACITY, max_wait_seconds=MAX_WAIT_SECONDS
        )
        self.remembered: dict[PresentedToken, tuple[bool, float]] = {}

    async def knows_any(self, presented_tokens: Collection[PresentedToken]) -> bool:
        """Is one of these tokens somebody's? Raises Overloaded, Unknown, or what the database raises."""
        since = time.monotonic() - REMEMBERED_SECONDS
        answers = {shown: self.remembered.get(shown, (False, 0.0)) for shown in presented_tokens}
        if any(is_known and at > since for is_known, at in answers.values()):
            return True
        unsure = [shown for shown, (_, at) in answers.items() if at <= since]
        return bool(unsure) and any(await self._look_up(unsure))

    async def _look_up(self, presented_tokens: Sequence[PresentedToken]) -> Sequence[bool]:
        found = [answer is True for answer in await self.lookups.submit(presented_tokens)]
        if len(self.remembered) + len(found) > MOST_REMEMBERED:
            self.remembered.clear()
        at = time.monotonic()
        self.remembered |= {shown: (known, at) for shown, known in zip(presented_tokens, found, strict=True)}
        return found


def _are_known(presented_tokens: list[PresentedToken]) -> list[bool]:
    known = tokens.known(set(presented_tokens))
    return [shown in known for shown in presented_tokens]
