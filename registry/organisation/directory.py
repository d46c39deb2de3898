"""The addresses of all active workspaces in this process's memory, kept up to date from the event log.

A lookup after a move, a removal or a revocation is right at once, and costs no query while none happens. Used from one
thread.
"""

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from activity import cache_versions, clock, events
from activity.models import StructureEvent
from registry.identity import tokens
from registry.identity.tokens import Caller, PresentedToken
from registry.models import ALIVE, Status, Workspace
from registry.structure import access, history, projection
from registry.structure.projection import Row

log = logging.getLogger(__name__)

KEPT = ("parent_id", "status", "url", "name")
PAGE = 500
# Nothing is trusted for longer, in case Redis loses an invalidation.
LONGEST_TRUST_SECONDS = 5.0
MOST_SESSIONS = 50_000


@dataclass(frozen=True, slots=True)
class Lookup:
    """A request for the address of `target_id` with `token`; `claimed` is X-Workspace-ID."""

    target_id: UUID
    token: PresentedToken
    claimed: UUID | None


@dataclass(frozen=True, slots=True)
class Match:
    """The address that was found; `token_id` is the id of the lookup's token."""

    token_id: UUID
    id: UUID
    url: str
    name: str
    status: str


class Directory:
    """Resolves lookups that succeed; None means that the database has to be asked."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Row] = {}
        self.position: int | None = None
        self.rebuild = 0
        self.event_id: UUID | None = None
        self.version: str | None = None
        self.checked_at = 0.0
        self.sessions = Sessions()

    def resolve(self, lookups: Sequence[Lookup]) -> list[Match | None]:
        """A match for each lookup, None where the database has to be asked."""
        log_version, token_version = cache_versions.read(cache_versions.LOG, cache_versions.TOKENS)
        self._catch_up(log_version)
        callers = self.sessions.callers({lookup.token for lookup in lookups}, token_version)
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
        parents = {i: self.rows[i]["parent_id"] for i in (caller, target) if i in self.rows}
        return access.rule(caller, target, parents) != access.Rule.NONE

    def _catch_up(self, version: str | None) -> None:
        """`version` was read before, so what is read here is valid until it changes."""
        now = time.monotonic()
        if version is not None and version == self.version and now - self.checked_at < LONGEST_TRUST_SECONDS:
            return
        self.version = None
        rebuild = events.last_rebuild()
        if self.position is None or self.rebuild != rebuild:
            self._load()
            self.rebuild = rebuild
        while page := self._next_page():
            self._fold(page)
        self.version, self.checked_at = version, now

    def _next_page(self) -> list[StructureEvent]:
        """The events after our position. Loads everything again if the log no longer has our last event there: it was
        restored, or a failover lost events. The check follows the read, so a page of another log is never used.
        """
        while True:
            page = list(history.lean(events.read(after=self.position))[:PAGE])
            if events.is_at(self.position or 0, self.event_id):
                return page
            log.warning("the log no longer has event %s at position %s: loading again", self.event_id, self.position)
            self._load()

    def _load(self) -> None:
        """Rows and position are of one statement. Without rows the position is read before, so nothing is skipped."""
        position, event_id, rows = events.latest_seq(), None, {}
        newest = {"event_seq": events.newest("seq"), "event_id": events.newest("id")}
        for row in Workspace.objects.active().annotate(**newest).values("id", *KEPT, *newest):
            position, event_id = row.pop("event_seq") or 0, row.pop("event_id")
            rows[row.pop("id")] = row
        self.position, self.event_id, self.rows = position, event_id, rows

    def _fold(self, page: Iterable[StructureEvent]) -> None:
        for event in history.with_lean_payloads(page):
            for change in projection.changes(event):
                if change.table is Workspace:
                    kept = {name: change.columns[name] for name in KEPT if name in change.columns}
                    projection.apply_change(replace(change, columns=kept), self.rows)
                    if kept.get("status") == Status.REMOVED:
                        self.rows.pop(change.id, None)
            self.position, self.event_id = event.seq, event.id


class Sessions:
    """Cache of valid tokens: until the cache version changes, and for at most LONGEST_TRUST_SECONDS."""

    def __init__(self) -> None:
        self.known: dict[PresentedToken, tuple[Caller, float]] = {}
        self.version: str | None = None

    def callers(
        self, presented_tokens: Collection[PresentedToken], version: str | None
    ) -> dict[PresentedToken, Caller]:
        """The callers by token; invalid tokens are missing. `version` was read before."""
        if version is None or version != self.version or len(self.known) > MOST_SESSIONS:
            self.known.clear()
        self.version = version
        checked_at = time.monotonic()
        missing = {presented for presented in presented_tokens if not self._is_known(presented)}
        found = tokens.callers(missing)
        self.known |= {presented: (caller, checked_at) for presented, caller in found.items()}
        return {
            presented: self.known[presented][0]
            for presented in presented_tokens
            if presented in found or presented not in missing
        }

    def _is_known(self, presented: PresentedToken) -> bool:
        if presented not in self.known:
            return False
        caller, checked_at = self.known[presented]
        is_live = caller.expires_at is None or caller.expires_at > clock.now()
        return is_live and time.monotonic() - checked_at < LONGEST_TRUST_SECONDS
