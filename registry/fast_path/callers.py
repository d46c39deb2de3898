"""Whether a caller is known, before its body is read (registry.identity.tokens.known). To be known gives no access."""

import time
from collections.abc import Collection, Sequence

from activity.group_commit import GroupCommit
from registry.identity import tokens
from registry.identity.tokens import PresentedToken

BATCH = 2048
CAPACITY = 8192
MAX_WAIT_SECONDS = 2.0
# An outdated answer does no harm: the route itself refuses revoked tokens, and no token is presented before it is
# issued.
REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 20_000


class Callers:
    """Looks up the tokens of concurrent requests in one query, and caches the results in this process."""

    def __init__(self) -> None:
        self.lookups = GroupCommit(
            "credentials", _are_known, batch=BATCH, capacity=CAPACITY, max_wait_seconds=MAX_WAIT_SECONDS
        )
        self.remembered: dict[PresentedToken, tuple[bool, float]] = {}

    async def knows_any(self, presented_tokens: Collection[PresentedToken]) -> bool:
        """Whether one of these tokens is known. Raises Overloaded, Unknown, or what the database raises."""
        since = time.monotonic() - REMEMBERED_SECONDS
        answers = {shown: self.remembered.get(shown, (False, 0.0)) for shown in presented_tokens}
        if any(is_known and at > since for is_known, at in answers.values()):
            return True
        unchecked = [shown for shown, (_, at) in answers.items() if at <= since]
        return bool(unchecked) and any(await self._look_up(unchecked))

    async def _look_up(self, presented_tokens: Sequence[PresentedToken]) -> Sequence[bool]:
        found = [answer is True for answer in await self.lookups.submit(presented_tokens)]
        if len(self.remembered) + len(found) > MAX_REMEMBERED:
            self.remembered.clear()
        at = time.monotonic()
        self.remembered |= {shown: (known, at) for shown, known in zip(presented_tokens, found, strict=True)}
        return found


def _are_known(presented_tokens: list[PresentedToken]) -> list[bool]:
    known = tokens.known(set(presented_tokens))
    return [shown in known for shown in presented_tokens]
