"""Earlier contents of files: the last 20 of each path, with author and time."""

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from django.db import connection, models

from registry.config import paths
from registry.config.contents import EXECUTABLE_MODE, MAX_FILES, MAX_TOTAL_BYTES, Content
from registry.exceptions import NotFound
from registry.models import WorkspaceFileRevision
from registry.structure import rows

KEPT = 20
KEEP = """
INSERT INTO workspace_file_revisions
  (workspace_id, path, content, sha256, mode, updated_at, updated_by, replaced_by)
SELECT workspace_id, path, content, sha256, mode, updated_at, updated_by, %s
FROM workspace_files WHERE workspace_id = %s AND path = ANY(%s)
"""
# The last KEPT of each path. Paths of deleted files count too, so rows and bytes are limited to KEPT full workspaces.
PRUNE = f"""
DELETE FROM workspace_file_revisions WHERE id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER (PARTITION BY path ORDER BY id DESC) AS of_path,
      row_number() OVER (ORDER BY id DESC) AS of_all,
      sum(octet_length(content)) OVER (ORDER BY id DESC) AS bytes
    FROM workspace_file_revisions WHERE workspace_id = %s
  ) ranked
  WHERE of_path > {KEPT} OR of_all > {KEPT * MAX_FILES} OR bytes > {KEPT * MAX_TOTAL_BYTES}
)
"""  # noqa: S608  # our own numbers


class Revision(TypedDict):
    """A content that a file had, who wrote it and when, and who replaced or deleted it and when."""

    id: int
    path: str
    size: int
    sha256: str
    updated_at: datetime
    updated_by: str
    replaced_at: datetime
    replaced_by: str


def listing(workspace_id: UUID, path: str | None = None) -> list[Revision]:
    """The revisions of one path, or the last KEPT of all, newest first; also of deleted files.

    Raises NotFound, Removed, Forwarded, Invalid.
    """
    rows.find(workspace_id)
    size = models.Func("content", function="octet_length", output_field=models.IntegerField())
    wanted = WorkspaceFileRevision.objects.filter(workspace_id=workspace_id).annotate(size=size)
    if path is not None:
        wanted = wanted.filter(path=paths.clean(path))
    return list(wanted.order_by("-id").values(*Revision.__annotations__)[:KEPT])


def read(workspace_id: UUID, revision_id: int) -> tuple[str, Content]:
    """The path and the content of a revision. Raises NotFound, also for an unknown workspace, Removed, Forwarded."""
    row = WorkspaceFileRevision.objects.filter(workspace_id=workspace_id, id=revision_id).first()
    if row is None:
        rows.find(workspace_id)
        raise NotFound("no such revision")
    return row.path, Content(bytes(row.content), executable=row.mode == EXECUTABLE_MODE)


def keep(workspace_id: UUID, changed: Collection[str], actor: str) -> None:
    """Keep the contents of these paths before they change. The workspace's row is locked."""
    if not changed:
        return
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [actor, workspace_id, list(changed)])
        cursor.execute(PRUNE, [workspace_id])
