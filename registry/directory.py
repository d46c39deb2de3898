"""Who is where, in this process's memory: a fold of the event log that knows whether it is up to date.

For answers that must be right at once after a move, a removal or a revocation, and cost no query while nothing
of that kind happens. Used from one thread.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from activity import events, marks
from activity.models import StructureEvent
from registry import access, credentials, projection
from registry.credentials import Caller, Proof
from registry.models import ALIVE, Status, Workspace
from registry.projection import Row

KEPT = ("parent_id", "status", "url", "name")
PAGE = 1000
# A second line behind the marks: even if Redis lost one in the wrong moment, nothing older is said.
LONGEST_TRUST_SECONDS = 5.0
LONGEST_SESSION_SECONDS = 60.0
MOST_SESSIONS = 50_000


@dataclass(frozen=True, slots=True)
class Question:
    """Where is `target_id`, asks whoever shows `proof`, as `claimed` if that is said."""

    target_id: UUID
    proof: Proof
    claimed: UUID | None


@dataclass(frozen=True, slots=True)
class Answer:
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
        self.looked_at = 0.0
        self.sessions = Sessions()

    def answer(self, questions: Sequence[Question]) -> list[Answer | None]:
        try:
            log, tokens = marks.read(marks.LOG, marks.TOKENS)
        except RedisError:
            log = tokens = marks.UNREADABLE
        if not self._is_current(log):
            self._catch_up()
            if log is None:
                marks.LOG.begin(str(self.position))
        if tokens is None:
            marks.TOKENS.begin(str(uuid4()))
        callers = self.sessions.callers({question.proof for question in questions}, tokens)
        return [self._answer(question, callers.get(question.proof)) for question in questions]

    def _answer(self, question: Question, caller: Caller | None) -> Answer | None:
        target = self.rows.get(question.target_id)
        if caller is None or question.claimed not in (None, caller.workspace_id):
            return None
        if target is None or target["status"] not in ALIVE or not target["url"]:
            return None
        if not self._may_talk(caller.workspace_id, question.target_id):
            return None
        return Answer(caller.token_id, question.target_id, target["url"], target["name"], target["status"])

    def _may_talk(self, caller: UUID, target: UUID) -> bool:
        found = {i: self.rows[i] for i in (caller, target) if i in self.rows}
        parents = {i: row["parent_id"] for i, row in found.items() if row["status"] != Status.REMOVED}
        return access.rule(caller, target, parents) != access.Rule.NONE

    def _is_current(self, log: str | None) -> bool:
        is_fresh = time.monotonic() - self.looked_at < LONGEST_TRUST_SECONDS
        return is_fresh and marks.is_settled(log) and log == str(self.position)

    def _catch_up(self) -> None:
        looked_at = time.monotonic()
        if self.position is None:
            self._load()
        while page := list(events.read(after=self.position, limit=PAGE)):
            self._fold(page)
        self.looked_at = looked_at

    def _load(self) -> None:
        """Rows and position of one moment. Read first: with no rows it is true for a position at least this late."""
        self.position = events.latest_seq()
        for row in Workspace.objects.annotate(event_seq=events.position_now()).values("id", *KEPT, "event_seq"):
            self.position = row.pop("event_seq") or 0
            self.rows[row.pop("id")] = row

    def _fold(self, page: Iterable[StructureEvent]) -> None:
        for event in page:
            for change in projection.changes(event):
                if change.table is Workspace:
                    known = self.rows.setdefault(change.id, dict.fromkeys(KEPT))
                    known |= {name: change.columns[name] for name in KEPT if name in change.columns}
            self.position = event.seq


class Sessions:
    """Whose tokens have been shown lately: known until any token is revoked, and for LONGEST_SESSION_SECONDS."""

    def __init__(self) -> None:
        self.known: dict[Proof, tuple[Caller, float]] = {}
        self.mark: str | None = None

    def callers(self, proofs: Collection[Proof], mark: str | None) -> dict[Proof, Caller]:
        """Those whose proof is good. `mark` was read before; while it is unsettled nothing is taken from memory."""
        if not marks.is_settled(mark):
            return credentials.callers(proofs)
        if mark != self.mark or len(self.known) > MOST_SESSIONS:
            self.known.clear()
            self.mark = mark
        now = time.time()
        missing = {proof for proof in proofs if proof not in self.known or self.known[proof][1] <= now}
        found = credentials.callers(missing)
        self.known |= {proof: (caller, _until(caller, now)) for proof, caller in found.items()}
        return {proof: self.known[proof][0] for proof in proofs if proof in found or proof not in missing}


def _until(caller: Caller, now: float) -> float:
    latest = now + LONGEST_SESSION_SECONDS
    return latest if caller.expires_at is None else min(latest, caller.expires_at.timestamp())
