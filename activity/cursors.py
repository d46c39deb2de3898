"""Cursors of the activity list. A reader that follows them in either direction gets every row exactly once.

Rows do not commit in the order of their times. So a cursor holds the PostgreSQL snapshot of the reader's first page:
rows that are visible in it are older, all others are newer, whatever their times.
"""

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.core import signing
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from activity.models import ActivityLog
from activity.pages import Page

SALT = "activity cursor"


class Malformed(ValueError):
    """The text is not a cursor that this installation has signed."""


@dataclass(frozen=True)
class Older:
    """The rows before a row, of those visible in `snapshot`; newest first."""

    KIND: ClassVar = "older"
    snapshot: str
    created_at: str
    id: str

    def select(self, rows: QuerySet[ActivityLog]) -> QuerySet[ActivityLog]:
        at = datetime.fromisoformat(self.created_at)
        # Transaction ids that PostgreSQL has not reached yet are from before a backup was restored.
        known = Q(transaction_id=None) | Q(_visible_in(self.snapshot)) | Q(transaction_id__gte=_end_of(CURRENT))
        before = Q(created_at__lte=at) & (Q(created_at__lt=at) | Q(id__lt=UUID(self.id)))
        return rows.filter(known, before).order_by("-created_at", "-id")

    def following(self, page: Page) -> "dict[str, Older | Newer]":
        return _following(page, self.snapshot)


@dataclass(frozen=True)
class Newer:
    """The rows that are not visible in the snapshot `since`, by transaction.

    All pages of one pass have the snapshot of its first page, `upto`. `last` is the row to continue after: its
    transaction, time and id.
    """

    KIND: ClassVar = "newer"
    since: str
    upto: str | None = None
    last: tuple[int, str, str] | None = None

    def select(self, rows: QuerySet[ActivityLog]) -> QuerySet[ActivityLog]:
        first = int(self.since.split(":")[0])
        unseen = rows.filter(~Q(_visible_in(self.since)), transaction_id__gte=first)
        if self.upto is None:
            unseen = unseen.filter(transaction_id__lt=_end_of(CURRENT))
        else:
            unseen = unseen.filter(Q(_visible_in(self.upto)), transaction_id__lt=int(self.upto.split(":")[1]))
        if self.last is not None:
            transaction_id, at, id = self.last[0], datetime.fromisoformat(self.last[1]), UUID(self.last[2])
            in_transaction = Q(created_at__gt=at) | Q(created_at=at, id__gt=id)
            unseen = unseen.filter(
                Q(transaction_id__gt=transaction_id) | Q(transaction_id=transaction_id) & in_transaction,
                transaction_id__gte=transaction_id,
            )
        return unseen.order_by("transaction_id", "created_at", "id")

    def following(self, page: Page) -> "dict[str, Older | Newer]":
        upto = self.upto or page.snapshot
        if not page.more:
            return {"newer": Newer(upto)}
        row = page.rows[-1]
        more = Newer(self.since, upto, (row["transaction_id"], row["created_at"].isoformat(), str(row["id"])))
        return {"next": more, "newer": more}


Cursor = Older | Newer
KINDS: dict[str, type[Older] | type[Newer]] = {kind.KIND: kind for kind in (Older, Newer)}


def following(page: Page) -> dict[str, Cursor]:
    """The cursors to continue from a page that was read without one, newest first."""
    return _following(page, page.snapshot)


def encode(cursor: Cursor) -> str:
    """The text of a cursor. It is signed, because PostgreSQL parses parts of it."""
    return signing.dumps([cursor.KIND, *astuple(cursor)], salt=SALT, compress=True)


def decode(text: str) -> Cursor:
    """The cursor in a text. Raises Malformed."""
    try:
        kind, *values = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        raise Malformed("not a cursor of this list") from None
    return KINDS[kind](*values)


def _following(page: Page, snapshot: str) -> dict[str, Cursor]:
    """The cursors after a page that is newest first, of the rows visible in `snapshot`."""
    newer = Newer(snapshot)
    if not page.more:
        return {"newer": newer}
    row = page.rows[-1]
    return {"next": Older(snapshot, row["created_at"].isoformat(), str(row["id"])), "newer": newer}


CURRENT = Func(function="pg_current_snapshot")


def _visible_in(snapshot: str) -> Func:
    return Func(
        F("transaction_id"),
        Value(snapshot),
        template="pg_visible_in_snapshot(%(expressions)s::pg_snapshot)",
        arg_joiner="::text::xid8, ",
        output_field=BooleanField(),
    )


def _end_of(snapshot: Func) -> Func:
    """The first transaction id after all those of the snapshot."""
    return Func(snapshot, template="pg_snapshot_xmax(%(expressions)s)::text::bigint")
