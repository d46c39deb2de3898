"""Workspaces that an agent left behind when it registered without its id: a newer one has its name and address."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from registry.admin.lookups import OfferedChangeList
from registry.models import ALIVE, Status, Workspace

LEFT_BEHIND = (Status.OFFLINE, Status.FAILED)


class WorkspaceList(OfferedChangeList):
    """Marks the rows of the page that are superseded; nothing is removed by itself."""

    def get_results(self, request: Any) -> None:
        super().get_results(request)
        may_remove = self.model_admin.has_change_permission(request)
        found = successors(self.result_list)
        for row in self.result_list:
            row.successor, row.may_be_removed = found.get(row.id), may_remove


def successors(workspaces: Iterable[Workspace]) -> dict[UUID, Workspace]:
    """The newest workspace that is online under the same name and address, by the id of the one left behind."""
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
