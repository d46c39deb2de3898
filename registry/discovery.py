"""Finding each other: a workspace's address, and its peers."""

import logging
from uuid import UUID

from django.db.models import QuerySet
from redis.exceptions import RedisError

from registry import access, presence, rows
from registry.exceptions import Forwarded, NotAllowed, Unreachable
from registry.models import ALIVE, Workspace

log = logging.getLogger(__name__)


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
    """From the row, which is here already; `ws:{id}:url` is put right for whoever reads Redis alone."""
    url = workspace.url or ""
    try:
        if url and presence.cached_url(workspace.id) != url:
            presence.cache_url(workspace.id, url)
    except RedisError as error:
        log.warning("URL not cached: %s", type(error).__name__)
    return url
