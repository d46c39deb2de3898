"""REST for discovery, peers, access between workspaces, and differences between two moments."""

from typing import Any
from uuid import UUID

from rest_framework.response import Response

from activity import caching
from activity.endpoints import Endpoint, documented
from activity.principals import Kind
from registry.api.serializers import AccessBody, DiffQuery, DiscoveryResponse, ExplainQuery, ExplainResponse, PeerRow
from registry.exceptions import Invalid
from registry.organisation import discovery
from registry.structure import access, history


class Discover(Endpoint):
    """`GET /registry/discover/{id}`"""

    @documented("The URL of a workspace's agent", answers={200: DiscoveryResponse}, errors=(404, 410))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        if self.principal.kind == Kind.OPEN:
            raise Invalid("X-Workspace-ID header is required", field="X-Workspace-ID")
        caller = self.principal.workspace_id if self.principal.kind == Kind.WORKSPACE else None
        workspace, url = discovery.discover(workspace_id, caller_id=caller)
        return Response({"id": workspace.id, "url": url, "name": workspace.name, "status": workspace.status})


class Peers(Endpoint):
    """`GET /registry/{id}/peers`"""

    @documented(
        "The peers of a workspace: siblings, children and the parent",
        answers={200: PeerRow(many=True)},
        errors=(404, 410),
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return caching.respond(request, discovery.peers(workspace_id))


class CheckAccess(Endpoint):
    """`POST /registry/check-access`"""

    @documented("Whether one workspace may communicate with another", request=AccessBody, answers={200: dict})
    def post(self, request: Any) -> Response:
        body = self.body(AccessBody)
        return Response({"allowed": access.can_communicate(body["caller_id"], body["target_id"])})


class Explain(Endpoint):
    """`GET /registry/explain`"""

    @documented(
        "Whether one workspace may communicate with another, now or at an earlier moment, and by which rule",
        query=ExplainQuery,
        answers={200: ExplainResponse},
    )
    def get(self, request: Any) -> Response:
        query = self.query(ExplainQuery)
        moment = history.moment(query.get("at"))
        both = history.active_at(moment, workspace_ids=[query["caller"], query["target"]])
        parents = {i: row["parent_id"] for i, row in both.items()}
        rule = access.rule(query["caller"], query["target"], parents)
        return Response({"allowed": rule != access.Rule.NONE, "rule": rule, "seq": moment.seq})


class Diff(Endpoint):
    """`GET /events/diff`"""

    @documented("What changed between two moments, by workspace", query=DiffQuery, answers={200: dict})
    def get(self, request: Any) -> Response:
        query = self.query(DiffQuery)
        since, until = history.moment(query["from"]), history.moment(query.get("to"))
        if since.seq > until.seq:
            raise Invalid("from: must not be after to", field="from")
        return Response({"from": since.seq, "to": until.seq, "changes": history.diff(since, until)})
