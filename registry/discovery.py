"""Finding each other: a workspace's address, and its peers."""

from uuid import UUID

from django.db.models import QuerySet
from redis.exceptions import RedisError

from registry import access, presence, rows
from registry.exceptions import Forwarded, NotAllowed, Unreachable
from registry.models import ALIVE, Workspace


def discover(target_id: UUID, *, caller_id: UUID | None) -> tuple[Workspace, str]:
    """The workspace and its URL; `caller_id` None for operators. A forwarded one is followed.

    Raises NotFound, Removed, NotAllowed, Unreachable (no URL, or nobody there).
    """
    workspace = _resolve(target_id)
    if caller_id is not None and not access.can_communicate(caller_id, workspace.id):
        raise NotAllowed("not authorized to reach this workspace: it is neither sibling, parent nor child")
    url = _url(workspace) if workspace.status in ALIVE else ""
    if not url:
        raise Unreachable(
            f"workspace is {workspace.status}" if workspace.url else "workspace has no URL", workspace.status
        )
    return workspace, url


def peers(workspace_id: UUID) -> list[Workspace]:
    """Siblings, then children, then the parent; the living ones. Raises NotFound, Forwarded, Removed."""
    workspace = rows.find(workspace_id)
    siblings = _living(parent_id=workspace.parent_id).exclude(id=workspace_id)
    parent = _living(id=workspace.parent_id) if workspace.parent_id else []
    return [*siblings, *_living(parent_id=workspace_id), *parent]


def _living(**which: UUID | None) -> QuerySet[Workspace]:
    return Workspace.objects.living().filter(**which).order_by("created_at", "id")


def _resolve(target_id: UUID) -> Workspace:
    try:
        return rows.find(target_id)
    except Forwarded as forwarded:
        return rows.find(forwarded.forwarded_to)


def _url(workspace: Workspace) -> str:
    """From Redis; where it is not there, from PostgreSQL, and kept in Redis for the next."""
    try:
        if cached := presence.cached_url(workspace.id):
            return cached
        if workspace.url:
            presence.cache_url(workspace.id, workspace.url)
    except RedisError:
        pass  # the row has it as well
    return workspace.url or ""
