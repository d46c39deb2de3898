"""The list of workspaces by team: a page of top-level workspaces, or of what a filter finds with everything above it.

Teams that are too large to be shown at once are loaded when they are opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.utils.safestring import SafeString

from registry.admin.lists import columns, live_columns
from registry.admin.lists.filters import BY_TEAM, VIEW
from registry.models import Status, Workspace
from registry.structure import hierarchy

MOST_NESTED = 300
"""Workspaces that are shown below those of the page."""
TROUBLE = (Status.FAILED, Status.DEGRADED, Status.OFFLINE)


@dataclass(kw_only=True)
class Branch:
    """A workspace and, where they are shown, the members of its team. `below`: how many are below it, by status.

    `is_found`: it is what was asked for, not only above that.
    """

    workspace: Workspace
    below: Mapping[str, int]
    is_found: bool = True
    is_open: bool = False
    members: list["Branch"] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many are below it."""
        return sum(self.below.values())

    @property
    def trouble(self) -> list[tuple[str, str]]:
        """Statuses below it that need somebody: the status, and "2 failed"."""
        return [(status, f"{self.below[status]} {status}") for status in TROUBLE if self.below.get(status)]

    @property
    def url(self) -> str:
        """The list of the members of its team."""
        return "?" + urlencode({VIEW: BY_TEAM, "team": self.workspace.pk})

    @property
    def status(self) -> SafeString:
        return live_columns.badges(self.workspace)

    @property
    def task(self) -> SafeString:
        return live_columns.task(self.workspace)

    @property
    def heartbeat(self) -> SafeString:
        return live_columns.heartbeat(self.workspace)

    @property
    def role(self) -> str:
        return columns.first_role_line(self.workspace)


def branches(rows: Sequence[Workspace], *, is_filtered: bool) -> list[Branch]:
    """The rows of a page as a tree. Five queries at most, however large the teams are."""
    return _with_everything_above(rows) if is_filtered else _with_small_teams(rows)


def _with_small_teams(rows: Sequence[Workspace]) -> list[Branch]:
    """The rows, with everything below them if that is little."""
    ids = [row.pk for row in rows]
    below = hierarchy.statuses_below(ids)
    found = {row.pk: Branch(workspace=row, below=below[row.pk]) for row in rows}
    if sum(branch.size for branch in found.values()) <= MOST_NESTED:
        members = _read(hierarchy.all_below(ids))
        counts = hierarchy.statuses_below([member.pk for member in members])
        nested = {member.pk: Branch(workspace=member, below=counts[member.pk]) for member in members}
        _nest({**found, **nested}, members)
        for branch in found.values():
            branch.is_open = True
    return list(found.values())


def _with_everything_above(rows: Sequence[Workspace]) -> list[Branch]:
    """The rows in their places below what is above them, all open."""
    ids = [row.pk for row in rows]
    above = _read(hierarchy.all_above(ids).difference(ids))
    both = sorted([*rows, *above], key=lambda row: (row.name, row.created_at, str(row.pk)))
    wanted = set(ids)
    below = hierarchy.statuses_below([row.pk for row in both])
    found = {
        row.pk: Branch(workspace=row, below=below[row.pk], is_found=row.pk in wanted, is_open=True) for row in both
    }
    _nest(found, both)
    return [found[row.pk] for row in both if row.parent_id not in found]


def _nest(found: Mapping[UUID, Branch], rows: Sequence[Workspace]) -> None:
    """Puts each of the rows below its parent, in their order."""
    for row in rows:
        if (parent := found.get(row.parent_id)) is not None:  # type: ignore[arg-type]  # None is not among them
            parent.members.append(found[row.pk])


def _read(ids: Any) -> list[Workspace]:
    rows = Workspace.objects.active().filter(id__in=list(ids)).defer("agent_card")
    return list(rows.order_by("name", "created_at", "id"))
