"""REST for the files of workspaces, their revisions, shared files and agents' own settings."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from registry.api.config_serializers import (
    FileBody,
    FileResponse,
    FileRow,
    FileSaved,
    FilesBody,
    FilesReplaced,
    RevisionContent,
    RevisionQuery,
    RevisionRow,
    SettingsResponse,
    SharedFile,
)
from registry.api.serializers import StatusResponse
from registry.config import agent_settings, context, files, revisions
from registry.config.contents import as_json, from_json

UNKNOWN_OR_REMOVED = (404, 410)
MAX_ID_DIGITS = 18
EMPTY_HASH = '""'
"""Of an If-Match without a hash: no content has it, and it is not files.MISSING."""


def _etag(sha256: str) -> dict[str, str]:
    return {"ETag": f'"{sha256}"'}


def _expected(request: Request) -> str | None:
    """What must be there now, by If-Match: a hash or `*`, and what is neither fits nothing; by `If-None-Match: *`,
    nothing."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return files.MISSING
    given = request.headers.get("If-Match")
    return None if given is None else given.strip().removeprefix("W/").strip('"') or EMPTY_HASH


class WorkspaceFiles(Endpoint):
    """`GET` and `PUT /workspaces/{id}/files`"""

    @documented("The files of a workspace", answers={200: FileRow(many=True)}, errors=UNKNOWN_OR_REMOVED)
    def get(self, request: Any, workspace_id: UUID) -> Response:
        listed = files.listing(workspace_id)
        return Response(listed, headers=_etag(files.digest(listed)))

    @documented(
        "Replace all files of a workspace",
        request=FilesBody,
        answers={200: FilesReplaced},
        errors=(*UNKNOWN_OR_REMOVED, 412, 413),
        name="workspaces_files_replace",
    )
    def put(self, request: Any, workspace_id: UUID) -> Response:
        given = self.body(FilesBody)["files"]
        wanted = {path: from_json(path, value) for path, value in given.items()}
        written = files.replace_all(workspace_id, wanted, actor=self.principal.actor, expected=_expected(request))
        return Response({"status": "replaced", "count": len(written)}, headers=_etag(files.digest(written)))


class WorkspaceFile(Endpoint):
    """`GET`, `PUT` and `DELETE /workspaces/{id}/files/{path}`"""

    @documented("A file with its content", answers={200: FileResponse}, errors=UNKNOWN_OR_REMOVED)
    def get(self, request: Any, workspace_id: UUID, path: str) -> Response:
        found, content = files.entry(workspace_id, path), files.read(workspace_id, path)
        return Response({**found, "size": len(content.data), **as_json(content)}, headers=_etag(content.sha256))

    @documented("Write a file", request=FileBody, answers={200: FileSaved}, errors=(*UNKNOWN_OR_REMOVED, 412, 413))
    def put(self, request: Any, workspace_id: UUID, path: str) -> Response:
        """With `If-Match` and a hash, only if the file has it now; with `If-None-Match: *`, only if it is new."""
        body = self.body(FileBody)
        written = files.write(
            workspace_id,
            path,
            from_json(path, body).data,
            executable=body["executable"],
            actor=self.principal.actor,
            expected=_expected(request),
        )
        return Response({"status": "saved", **written}, headers=_etag(written["sha256"]))

    @documented("Delete a file", answers={200: StatusResponse}, errors=(*UNKNOWN_OR_REMOVED, 412))
    def delete(self, request: Any, workspace_id: UUID, path: str) -> Response:
        files.delete(workspace_id, path, actor=self.principal.actor, expected=_expected(request))
        return Response({"status": "deleted", "path": path})


class Revisions(Endpoint):
    """`GET /workspaces/{id}/file-revisions`"""

    @documented(
        "Earlier contents of files",
        query=RevisionQuery,
        answers={200: RevisionRow(many=True)},
        errors=UNKNOWN_OR_REMOVED,
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return Response(revisions.listing(workspace_id, self.query(RevisionQuery).get("path")))


class Revision(Endpoint):
    """`GET /workspaces/{id}/file-revisions/{revision}`"""

    @documented("An earlier content of a file", answers={200: RevisionContent}, errors=UNKNOWN_OR_REMOVED)
    def get(self, request: Any, workspace_id: UUID, revision: str) -> Response:
        path, content = revisions.read(workspace_id, _number(revision))
        return Response({"path": path, "sha256": content.sha256, **as_json(content)})


class RestoreRevision(Endpoint):
    """`POST /workspaces/{id}/file-revisions/{revision}/restore`"""

    @documented(
        "Restore an earlier content of a file", answers={200: FileSaved}, errors=(*UNKNOWN_OR_REMOVED, 412, 413)
    )
    def post(self, request: Any, workspace_id: UUID, revision: str) -> Response:
        restored = files.restore(
            workspace_id, _number(revision), actor=self.principal.actor, expected=_expected(request)
        )
        return Response({"status": "restored", **restored}, headers=_etag(restored["sha256"]))


class SharedContext(Endpoint):
    """`GET /workspaces/{id}/shared-context`"""

    @documented("The files that the parent shares", answers={200: SharedFile(many=True)}, errors=UNKNOWN_OR_REMOVED)
    def get(self, request: Any, workspace_id: UUID) -> Response:
        found = context.shared(workspace_id)
        return Response([{"path": path, **as_json(content)} for path, content in found.items()])


class Settings(Endpoint):
    """`GET` and `PATCH /workspaces/{id}/config`"""

    @documented("An agent's own settings", answers={200: SettingsResponse}, errors=UNKNOWN_OR_REMOVED)
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return Response({"data": agent_settings.read(workspace_id)})

    @documented(
        "Merge into an agent's own settings",
        request={"application/json": {"type": "object", "additionalProperties": True}},
        answers={200: StatusResponse},
        errors=(*UNKNOWN_OR_REMOVED, 413),
    )
    def patch(self, request: Any, workspace_id: UUID) -> Response:
        """The whole body is merged, key by key, into what is there."""
        if not isinstance(request.data, Mapping):
            raise ValidationError("the body must be a JSON object")
        agent_settings.merge(workspace_id, dict(request.data))
        return Response({"status": "updated"})


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS):
        raise NotFound("no such revision")
    return int(text)
