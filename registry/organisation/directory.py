"""Who is where, in this process's memory: a fold of the event log that knows whether it is up to date.

For answers that must be right at once after a move, a removal or a revocation, and cost no query while nothing
of that kind happens. Used from one thread.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.utils import timezone

from activity import cache_versions, events
from activity.models import StructureEvent
from registry.identity import tokens
from registry.identity.tokens import Caller, PresentedToken
from registry.models import ALIVE, Status, Workspace
from registry.structure import access, projection
from registry.structure.projection import Row

KEPT = ("parent_id", "status", "url", "name")
PAGE = 1000
# A second line behind cache versions, for a Redis that forgets what it has taken: nothing is older.
LONGEST_TRUST_SECONDS = 5.0
MOST_SESSIONS = 50_000


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where is `target_id`, asks whoever shows `token`, as `claimed` if that is said."""

    target_id: UUID
    token: PresentedToken
    claimed: UUID | None


@dataclass(frozen=True, slots=True)
class Match:
    """`token_id` is that of the question's proof."""

    token_id: UUID
    id: UUID
    url: str
    name: str
    status: str


class Directory:
    """Answers what is plainly so; None means: ask the database."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}
        self.position: int | None = None
        self.version: str | None = None
        self.looked_at = 0.0
        self.sessions = Sessions()

    def resolve(self, lookups: Sequence[Lookup]) -> list[Match | None]:
        log, tokens = cache_versions.read(cache_versions.LOG, cache_versions.TOKENS)
        self._catch_up(log)
        callers = self.sessions.callers({lookup.token for lookup in lookups}, tokens)
        return [self._resolve(lookup, callers.get(lookup.token)) for lookup in lookups]

    def _resolve(self, lookup: Lookup, caller: Caller | None) -> Match | None:
        target = self.rows.get(lookup.target_id)
        if caller is None or lookup.claimed not in (None, caller.workspace_id):
            return None
        if target is None or target["status"] not in ALIVE or not target["url"]:
            return None
        if not self._may_talk(caller.workspace_id, lookup.target_id):
            return None
        return Match(caller.token_id, lookup.target_id, target["url"], target["name"], target["status"])

    def _may_talk(self, caller: UUID, target: UUID) -> bool:
        found = {i: self.rows[i] for i in (caller, target) if i in self.rows}
        parents = {i: row["parent_id"] for i, row in found.items() if row["status"] != Status.REMOVED}
        return access.rule(caller, target, parents) != access.Rule.NONE

    def _catch_up(self, version: str | None) -> None:
        """`version` was read before: what is read here holds as long as it stands."""
        now = time.monotonic()
        if version is not None and version == self.version and now - self.looked_at < LONGEST_TRUST_SECONDS:
            return
        self.version = None
        if self.position is None:
            self._load()
        while page := list(events.read(after=self.position, limit=PAGE)):
            self._fold(page)
        self.version, self.looked_at = version, now

    def _load(self) -> None:
        """Rows and position of one moment, or neither. Without rows it is true for a position at least this late."""
        position, rows = events.latest_seq(), {}
        for row in Workspace.objects.annotate(event_seq=events.position_now()).values("id", *KEPT, "event_seq"):
            position = row.pop("event_seq") or 0
            rows[row.pop("id")] = row
        self.position, self.rows = position, rows

    def _fold(self, page: Iterable[StructureEvent]) -> None:
        for event in page:
            for change in projection.changes(event):
                if change.table is Workspace:
                    kept = {name: change.columns[name] for name in KEPT if name in change.columns}
                    projection.apply_change(replace(change, columns=kept), self.rows)
            self.position = event.seq


class Sessions:
    """Whose tokens have been shown lately: known while its cache version stands, and for LONGEST_TRUST_SECONDS."""

    def __init__(self) -> None:
        self.known: dict[PresentedToken, tuple[Caller, float]] = {}
        self.version: str | None = None

    def callers(
        self, presented_tokens: Collection[PresentedToken], version: str | None
    ) -> dict[PresentedToken, Caller]:
        """Those whose proof is good. `version` was read before."""
        if version is None or version != self.version or len(self.known) > MOST_SESSIONS:
            self.known.clear()
        self.version = version
        asked_at = time.monotonic()
        missing = {presented for presented in presented_tokens if not self._is_known(presented)}
        found = tokens.callers(missing)
        self.known |= {presented: (caller, asked_at) for presented, caller in found.items()}
        return {
            presented: self.known[presented][0]
            for presented in presented_tokens
            if presented in found or presented not in missing
        }

    def _is_known(self, presented: PresentedToken) -> bool:
        if presented not in self.known:
            return False
        caller, asked_at = self.known[presented]
        is_live = caller.expires_at is None or caller.expires_at > timezone.now()
        return is_live and time.monotonic() - asked_at < LONGEST_TRUST_SECONDS
