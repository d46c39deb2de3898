"""REST for canvases: workspaces with their place on the canvas, snapshots, and the viewport."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponseBase
from rest_framework.response import Response

from activity import caching, clock
from activity.bus import rfc3339
from activity.endpoints import Endpoint, documented, link
from activity.events import Position
from activity.principals import Level
from canvas import layout, snapshot
from canvas.serializers import (
    CreatedResponse,
    OneWorkspaceRow,
    PageQuery,
    RemovalResponse,
    SnapshotQuery,
    SnapshotResponse,
    UpdatedResponse,
    ViewportBody,
    WorkspaceQuery,
)
from registry.api import connecting
from registry.api.serializers import (
    RemovalQuery,
    StatusResponse,
    WorkspaceBody,
    WorkspaceChanges,
    WorkspaceRow,
)
from registry.config import context, templates
from registry.config.blueprints import Blueprint
from registry.config.layouts import Place
from registry.exceptions import NotAllowed
from registry.identity import enrolment
from registry.identity.authentication import level_of
from registry.models import EXTERNAL, Status, Workspace
from registry.organisation import filters, removal, workspaces
from registry.organisation.filters import WorkspaceFilter
from registry.secrets import store

LAYOUT_FIELDS = ("x", "y", "collapsed")


def _positioned(response: HttpResponseBase, position: Position) -> HttpResponseBase:
    """Add the headers from which a client continues on /ws (`since` and `after_id`), and the time to count ages by."""
    response["X-Event-Seq"] = str(position.seq)
    response["X-Event-ID"] = position.event_id or ""
    response["X-Server-Time"] = rfc3339(clock.now())
    return response


class Workspaces(Endpoint):
    @documented(
        "Workspaces, all active ones without filters", query=WorkspaceQuery, answers={200: WorkspaceRow(many=True)}
    )
    def get(self, request: Any) -> HttpResponseBase:
        page, wanted = self.query(PageQuery), self.filter(filters.parse)
        version = snapshot.version()
        # What a filter selects depends on more than the rows of the list, so it has no ETag.
        etag = None if wanted != WorkspaceFilter() else version.workspaces
        unchanged = caching.not_modified(request, etag) if etag else None
        if unchanged:
            return _positioned(unchanged, version.position)
        # One row more than the limit, to know if there is a next page.
        limit = page.get("limit")
        position, found = snapshot.workspaces(wanted=wanted, after=page.get("after"), limit=limit and limit + 1)
        response = caching.respond(request, found[:limit], etag)
        _positioned(response, position or version.position)
        if limit and len(found) > limit:
            response["Link"] = link(self.request, "next", after=str(found[limit - 1]["id"]))
        return response

    @documented("Create a workspace", request=WorkspaceBody, answers={201: CreatedResponse})
    def post(self, request: Any) -> Response:
        body = self.body(WorkspaceBody)
        canvas = body.pop("canvas")
        secrets = body.pop("secrets")
        if secrets and level_of(self.principal) < Level.ADMINISTER:
            raise NotAllowed("only an administrator may store secrets")
        parent_id, place = body.pop("parent_id"), Place(**canvas) if canvas else None
        if not body["external"] and body["runtime"] != EXTERNAL:
            body["url"] = None
        with transaction.atomic():
            wanted = Blueprint(**body, place=place)
            made = templates.create(wanted, parent_id=parent_id, actor=self.principal.actor)
            workspace = Workspace.objects.get(id=made.workspace_id)
            for key, value in secrets.items():
                store.set_for_workspace(workspace.id, key, value, actor=self.principal.actor)
            created: dict[str, Any] = {"id": workspace.id, "status": workspace.status}
            if workspace.status != Status.ONLINE:
                created["enrolment_token"] = enrolment.issue(workspace.id, may_reveal=self.principal.may_reveal).token
        if workspace.runtime == EXTERNAL:
            created["external"] = True
        if workspace.runtime == EXTERNAL and not workspace.url:
            created["connection"] = connecting.instructions(request, workspace, created["enrolment_token"])
        return Response(created | self.ignored(WorkspaceBody), status=201)


class OneWorkspace(Endpoint):
    @documented("One workspace", answers={200: OneWorkspaceRow, 301: dict}, errors=(404, 410))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        shown = snapshot.workspace(workspace_id)
        is_operator = self.principal.level >= Level.VIEW
        if is_operator or self.principal.workspace_id == workspace_id:
            shown["agent_card_problems"] = snapshot.agent_card_problems(shown)
            shown["missing_environment"] = context.missing_environment(workspace_id)
        return Response(shown if is_operator else snapshot.without_operator_fields(shown))

    @documented("Change a workspace", request=WorkspaceChanges, answers={200: UpdatedResponse}, errors=(404, 410))
    def patch(self, request: Any, workspace_id: UUID) -> Response:
        changes = self.body(WorkspaceChanges)
        moved = {name: changes.pop(name) for name in LAYOUT_FIELDS if name in changes}
        if moved and not changes:
            layout.place(workspace_id, **moved)
            return Response({"status": "updated"} | self.ignored(WorkspaceChanges))
        with transaction.atomic():
            done = workspaces.update(workspace_id, changes, actor=self.principal.actor)
            if moved:
                layout.place(workspace_id, **moved)
        answer: dict[str, Any] = {"status": "updated"}
        if done.needs_restart:
            answer["needs_restart"] = True
        if done.event_ids:
            answer["event_ids"] = done.event_ids
        return Response(answer | self.ignored(WorkspaceChanges))

    @documented(
        "Remove a workspace and its team",
        query=RemovalQuery,
        answers={200: RemovalResponse},
        errors=(404, 409, 410),
    )
    def delete(self, request: Any, workspace_id: UUID) -> Response:
        removed = removal.remove(workspace_id, actor=self.principal.actor, **self.query(RemovalQuery))
        return Response({"status": "removed", "cascade_deleted": len(removed) - 1})


class Snapshot(Endpoint):
    @documented(
        "A consistent snapshot, now or at an earlier time", query=SnapshotQuery, answers={200: SnapshotResponse}
    )
    def get(self, request: Any) -> HttpResponseBase:
        when = self.query(SnapshotQuery).get("at")
        if when is not None:
            return caching.respond(request, snapshot.at(when))
        version = snapshot.version()
        if unchanged := caching.not_modified(request, version.everything):
            return _positioned(unchanged, version.position)
        position, shown = snapshot.now(version.position)
        return _positioned(caching.respond(request, shown, version.everything), position)


class Viewport(Endpoint):
    @documented("The saved viewport", answers={200: ViewportBody})
    def get(self, request: Any) -> Response:
        return Response(layout.viewport())

    @documented("Save the viewport", request=ViewportBody, answers={200: StatusResponse})
    def put(self, request: Any) -> Response:
        layout.save_viewport(**self.body(ViewportBody))
        return Response({"status": "saved"})
