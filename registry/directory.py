"""Who is where, in this process's memory: a fold of the event log that knows whether it is up to date.

For answers that must be right at once after a move, a removal or a revocation, and cost no query while nothing
of that kind happens. Used from one thread.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.utils import timezone

from activity import events, marks
from activity.models import StructureEvent
from registry import access, credentials, projection
from registry.credentials import Caller, Proof
from registry.models import ALIVE, Status, Workspace
from registry.projection import Row

KEPT = ("parent_id", "status", "url", "name")
PAGE = 1000
# A second line behind the marks, for a Redis that forgets what it has taken: nothing is older.
LONGEST_TRUST_SECONDS = 5.0
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
        self.mark: str | None = None
        self.looked_at = 0.0
        self.sessions = Sessions()

    def answer(self, questions: Sequence[Question]) -> list[Answer | None]:
        log, tokens = marks.read(marks.LOG, marks.TOKENS)
        self._catch_up(log)
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

    def _catch_up(self, mark: str | None) -> None:
        """`mark` was read before: what is read here holds as long as it stands."""
        now = time.monotonic()
        if mark is not None and mark == self.mark and now - self.looked_at < LONGEST_TRUST_SECONDS:
            return
        self.mark = None
        if self.position is None:
            self._load()
        while page := list(events.read(after=self.position, limit=PAGE)):
            self._fold(page)
        self.mark, self.looked_at = mark, now

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
                    projection.enter(replace(change, columns=kept), self.rows)
            self.position = event.seq


class Sessions:
    """Whose tokens have been shown lately: known while the mark stands, and for LONGEST_TRUST_SECONDS."""

    def __init__(self) -> None:
        self.known: dict[Proof, tuple[Caller, float]] = {}
        self.mark: str | None = None

    def callers(self, proofs: Collection[Proof], mark: str | None) -> dict[Proof, Caller]:
        """Those whose proof is good. `mark` was read before."""
        if mark is None or mark != self.mark or len(self.known) > MOST_SESSIONS:
            self.known.clear()
        self.mark = mark
        asked_at = time.monotonic()
        missing = {proof for proof in proofs if not self._is_known(proof)}
        found = credentials.callers(missing)
        self.known |= {proof: (caller, asked_at) for proof, caller in found.items()}
        return {proof: self.known[proof][0] for proof in proofs if proof in found or proof not in missing}

    def _is_known(self, proof: Proof) -> bool:
        if proof not in self.known:
            return False
        caller, asked_at = self.known[proof]
        is_live = caller.expires_at is None or caller.expires_at > timezone.now()
        return is_live and time.monotonic() - asked_at < LONGEST_TRUST_SECONDS
