"""The list of workspaces: what its rows show besides their columns, all read at once for a page."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.expressions import RawSQL

from activity import clock
from activity.parameters import choice, identifier
from registry.admin.lists import columns, live_columns, tree
from registry.admin.lists.bar import Link, encode
from registry.admin.lists.exports import Export
from registry.admin.lists.filters import BY_TEAM, VIEW
from registry.admin.lists.live_columns import HOURS
from registry.admin.lists.lookups import OfferedChangeList
from registry.liveness import availability
from registry.liveness.availability import Window
from registry.models import ALIVE, Status, Workspace
from registry.organisation import verbs
from registry.structure import deployments

LIST_COLUMNS: tuple[Any, ...] = (
    columns.name,
    live_columns.status,
    live_columns.task,
    live_columns.team,
    live_columns.tier,
    live_columns.runtime,
    live_columns.heartbeat,
    live_columns.errors,
    live_columns.availability,
)
EXPORT = Export(
    columns=(
        "id", "name", "role", "status", "tier", "runtime", "parent_id", "parent__name", "current_task", "active_tasks",
        "last_error_rate", "last_sample_error", "last_heartbeat_at", "uptime_seconds", "url", "created_at",
        "updated_at",
    ),
    position=("created_at", "id"),
)  # fmt: skip
READ = (
    "name", "role", "status", "tier", "runtime", "parent", "current_task", "last_error_rate",
    "last_heartbeat_at", "enrolment_expires_at", "flapping_until", "refused_at", "refused_count", "refused_reason",
    "refused_address", "url", "created_at",
)  # fmt: skip
"""Columns that a row of the list is made of."""
FEW = 1000
LEFT_BEHIND = (Status.OFFLINE, Status.FAILED)


class WorkspaceList(OfferedChangeList):
    """Marks the rows of the page that are superseded, without removing any, and adds their availability; or shows them
    by team."""

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> QuerySet[Any]:
        """By team and without a filter, one level of the tree: the top, or a team."""
        rows = super().get_queryset(request, exclude_parameters).only(*READ).annotate(team_name=F("parent__name"))
        rows = _found_at_once(rows) if self.query else rows
        self.view = choice(self.bar.given, VIEW, (BY_TEAM,))
        if not self.view or self.is_filtered:
            return rows
        return rows.filter(parent_id=identifier(self.bar.given, "team"))

    @property
    def is_filtered(self) -> bool:
        """Whether anything but a team was asked for."""
        return not set(self.bar.filters) <= {"team"}

    @property
    def views(self) -> list[Link]:
        """The ways to show the list."""
        return [
            Link(label=label, url=f"?{encode({**self.bar.filters, VIEW: view})}", is_current=self.view == view)
            for label, view in (("List", ""), ("By team", BY_TEAM))
        ]

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        if self.view:
            self.choosable = []
            self.branches = tree.branches(list(self.result_list), is_filtered=self.is_filtered)
            return
        may_remove = self.model_admin.has_change_permission(request)
        rows = list(self.result_list)
        found, available = successors(rows), availability.of([row.id for row in rows], last_hours(), HOURS)
        for row in rows:
            row.successor, row.may_be_removed = found.get(row.id), may_remove
            row.availability = available[row.id]
        self.result_list = rows
        deployments.look_up(rows)
        if not any(verbs.RESTART.applies(row) for row in rows):
            self.choosable = [action for action in self.choosable if action.name != verbs.RESTART.name]


def _found_at_once(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The rows by their ids, where a search finds few: it then reads the table once, not to count and for the page."""
    ids = list(rows.order_by().values_list("pk", flat=True)[: FEW + 1])
    return rows.filter(pk__in=RawSQL("SELECT unnest(%s::uuid[])", (ids,))) if len(ids) <= FEW else rows


def last_hours() -> Window:
    """The last HOURS, to the minute."""
    until = clock.now().replace(second=0, microsecond=0)
    return Window(until - timedelta(hours=HOURS), until)


def successors(workspaces: Iterable[Workspace]) -> dict[UUID, Workspace]:
    """Of workspaces that an agent left behind when it registered without its id, the newer one that is online.

    Both have the same name and address. By the id of the one left behind.
    """
    silent = [row for row in workspaces if row.status in LEFT_BEHIND and (row.url or "").startswith("http")]
    if not silent:
        return {}
    alive = Workspace.objects.filter(
        status__in=ALIVE, name__in={row.name for row in silent}, url__in={row.url for row in silent}
    ).only("id", "name", "url", "created_at")
    newest = {(row.name, row.url): row for row in alive.order_by("created_at")}
    found = {row.id: newest.get((row.name, row.url)) for row in silent}
    return {
        row.id: successor
        for row in silent
        if (successor := found[row.id]) is not None and successor.created_at > row.created_at
    }
