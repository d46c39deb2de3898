"""Finds workspaces while somebody types: a few, the best matches first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, IntegerField, Value, When

from registry.models import Workspace
from registry.organisation import filters
from registry.structure import hierarchy

MOST = 12


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An active workspace. `path` has the names above it, from the root down."""

    id: UUID
    name: str
    role: str
    path: Sequence[str]
    status: str
    enrolment_expires_at: datetime | None


def search(text: str, limit: int = MOST) -> list[Hit]:
    """The workspaces that the list finds for the same words, by how well their name matches the whole text.

    First the text as name or id, then names that begin with it, then those with a word that does, then those that
    contain it, then all others: a role, or words in any order.
    """
    words = text.split()
    if not words:
        return []
    found = filters.search(Workspace.objects.active(), text).annotate(rank=_rank(" ".join(words)))
    rows = list(found.order_by("rank", "name", "id").only("name", "role", "status", "enrolment_expires_at")[:limit])
    paths = hierarchy.paths([row.id for row in rows])
    return [
        Hit(
            id=row.id,
            name=row.name,
            role=row.role or "",
            path=paths[row.id][:-1],
            status=row.status,
            enrolment_expires_at=row.enrolment_expires_at,
        )
        for row in rows
    ]


def _rank(text: str) -> Case:
    whens = (
        When(filters.has_id(text), then=Value(0)),
        When(name__iexact=text, then=Value(0)),
        When(name__istartswith=text, then=Value(1)),
        When(name__iregex=rf"\m{re.escape(text)}", then=Value(2)),
        When(name__icontains=text, then=Value(3)),
    )
    return Case(*whens, default=Value(4), output_field=IntegerField())
