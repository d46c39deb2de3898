"""REST for operators: enrolment tokens and connecting; pause, resume, restart, undo; teams; model assignments."""

from typing import Any
from uuid import UUID

from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from registry.api import connecting
from registry.api.serializers import (
    AgentMoveBody,
    AgentRow,
    EnrolmentIssued,
    ExpandBody,
    ModelBody,
    StatusResponse,
    UnassignBody,
    UndoBody,
)
from registry.config import templates
from registry.identity import enrolment
from registry.models import Agent
from registry.organisation import agents, pausing, teams, undo
from registry.organisation.teams import Member
from registry.structure import rows

UNKNOWN_OR_REMOVED = (404, 410)


class Enrolment(Endpoint):
    """`POST /workspaces/{id}/enrolment`"""

    @documented("Issue a new enrolment token", answers={201: EnrolmentIssued}, errors=UNKNOWN_OR_REMOVED)
    def post(self, request: Any, workspace_id: UUID) -> Response:
        issued = enrolment.issue(workspace_id, may_reveal=self.principal.may_reveal)
        connection = connecting.instructions(request, rows.find(workspace_id), issued.token)
        answer = {"enrolment_token": issued.token, "expires_at": issued.expires_at, "connection": connection}
        return Response(answer, status=201)


class Connection(Endpoint):
    """`GET /workspaces/{id}/connection`"""

    @documented(
        "How its agent connects, without a token", answers={200: connecting.Connection}, errors=UNKNOWN_OR_REMOVED
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return Response(connecting.instructions(request, rows.find(workspace_id), connecting.PLACEHOLDER_TOKEN))


class Pause(Endpoint):
    """`POST /workspaces/{id}/pause`"""

    @documented("Pause a workspace and its team", answers={200: StatusResponse}, errors=UNKNOWN_OR_REMOVED)
    def post(self, request: Any, workspace_id: UUID) -> Response:
        count = pausing.pause(workspace_id, actor=self.principal.actor)
        return Response({"status": "paused", "paused_count": count})


class Resume(Endpoint):
    """`POST /workspaces/{id}/resume`"""

    @documented("Resume a workspace and its team", answers={200: StatusResponse}, errors=(*UNKNOWN_OR_REMOVED, 409))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        count = pausing.resume(workspace_id, actor=self.principal.actor)
        return Response({"status": "provisioning", "resumed_count": count})


class Restart(Endpoint):
    """`POST /workspaces/{id}/restart`"""

    @documented("Restart a workspace's agent", answers={200: StatusResponse}, errors=(*UNKNOWN_OR_REMOVED, 409))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        pausing.restart(workspace_id, actor=self.principal.actor)
        return Response({"status": "provisioning"})


class Undo(Endpoint):
    """`POST /workspaces/{id}/undo`"""

    @documented(
        "Undo changes of a workspace's settings or parent",
        request=UndoBody,
        answers={200: StatusResponse},
        errors=(*UNKNOWN_OR_REMOVED, 409),
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        undo.undo(workspace_id, self.body(UndoBody)["event_ids"], actor=self.principal.actor)
        return Response({"status": "undone"})


class Expand(Endpoint):
    """`POST /workspaces/{id}/expand`"""

    @documented(
        "Add members to a workspace's team",
        request=ExpandBody,
        answers={200: StatusResponse},
        errors=UNKNOWN_OR_REMOVED,
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        """Without members, those that the workspace's own config.yaml names in `sub_workspaces`."""
        members = [Member(**member) for member in self.body(ExpandBody)["members"]]
        if members:
            children = teams.expand(workspace_id, members, actor=self.principal.actor)
        else:
            children = templates.expand(workspace_id, actor=self.principal.actor)
        named = [{"id": child.id, "name": child.name, "role": child.role} for child in children]
        return Response({"status": "expanded", "children": named} | self.ignored(ExpandBody))


class RemoveTeam(Endpoint):
    """`POST /workspaces/{id}/collapse`"""

    @documented("Remove a workspace's team", answers={200: StatusResponse}, errors=UNKNOWN_OR_REMOVED)
    def post(self, request: Any, workspace_id: UUID) -> Response:
        return Response({"status": "collapsed", "removed": teams.remove_team(workspace_id, actor=self.principal.actor)})


class ActiveAgent(Endpoint):
    """`POST`, `PATCH` and `DELETE /workspaces/{id}/agent`"""

    @documented("Assign a model", request=ModelBody, answers={201: ModelBody}, errors=(*UNKNOWN_OR_REMOVED, 409))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        agent = agents.assign(workspace_id, self.body(ModelBody)["model"], actor=self.principal.actor)
        return Response({"agent_id": agent.id, "model": agent.model}, status=201)

    @documented("Replace the assigned model", request=ModelBody, answers={200: ModelBody}, errors=UNKNOWN_OR_REMOVED)
    def patch(self, request: Any, workspace_id: UUID) -> Response:
        result = agents.replace(workspace_id, self.body(ModelBody)["model"], actor=self.principal.actor)
        return Response({"agent_id": result.agent_id, "model": result.model, "old_model": result.old_model})

    @documented("Unassign the model", request=UnassignBody, answers={200: StatusResponse}, errors=UNKNOWN_OR_REMOVED)
    def delete(self, request: Any, workspace_id: UUID) -> Response:
        agent = agents.remove(workspace_id, reason=self.body(UnassignBody)["reason"], actor=self.principal.actor)
        return Response({"status": "removed", "agent_id": agent.id})


class MoveAgent(Endpoint):
    """`POST /workspaces/{id}/agent/move`"""

    @documented(
        "Move the model assignment to another workspace",
        request=AgentMoveBody,
        answers={200: ModelBody},
        errors=(*UNKNOWN_OR_REMOVED, 409),
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        target = self.body(AgentMoveBody)["target_workspace_id"]
        agent = agents.move(workspace_id, target, actor=self.principal.actor)
        moved = {"agent_id": agent.id, "model": agent.model}
        return Response(moved | {"from_workspace": workspace_id, "to_workspace": target})


class Agents(Endpoint):
    """`GET /workspaces/{id}/agents`"""

    @documented("All model assignments of a workspace, newest first", answers={200: AgentRow(many=True)}, errors=(404,))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        rows.check_exists(workspace_id)
        history = Agent.objects.filter(workspace_id=workspace_id).order_by("-created_at", "-id")
        return Response(AgentRow(history, many=True).data)
