"""REST for agents: registration, heartbeats, Agent Cards, state, activity, messages to operators."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.exceptions import APIException, Throttled, ValidationError
from rest_framework.response import Response

from activity import filters, log
from activity.api import activity_response
from activity.endpoints import UUID_TEXT, Endpoint, documented, error_body
from activity.log import Entry
from activity.principals import Kind
from activity.serializers import MAX_ENTRIES, ActivityEntry, ActivityPageQuery, ActivityQuery, ActivityRow
from registry.api.serializers import (
    BeatResults,
    CardBody,
    HeartbeatBody,
    HeartbeatsBody,
    HeartbeatWithToken,
    NotifyBody,
    RegisterBody,
    RegistrationResponse,
    StateResponse,
    StatusResponse,
)
from registry.exceptions import BadCredential, NotAllowed, NotFound
from registry.identity import addresses, rate_limits, refusals, tokens
from registry.liveness import batches, heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.models import Status, Workspace
from registry.organisation import workspaces
from registry.structure import rows


class Register(Endpoint):
    """`POST /registry/register`"""

    @documented("Register an agent", request=RegisterBody, answers={200: RegistrationResponse}, errors=(404, 410))
    def post(self, request: Any) -> Response:
        caller = self.principal
        token = workspaces.register(
            **self.body(RegisterBody),
            held=caller.kind == Kind.WORKSPACE and caller.token_id is not None,
            enrolment_id=caller.token_id if caller.kind == Kind.ENROLMENT else None,
            may_reveal=caller.may_reveal,
        )
        return Response({"status": "registered"} | ({"auth_token": token} if token else {}))


class Heartbeat(Endpoint):
    """`POST /registry/heartbeat`"""

    @documented("Send a heartbeat", request=HeartbeatBody, answers={200: StatusResponse}, errors=(404, 410))
    def post(self, request: Any) -> Response:
        beat = Beat(**self.body(HeartbeatBody))
        error = heartbeats.flush([beat])[beat.workspace_id]
        if error is not None:
            raise error
        return Response({"status": "ok"})


class Heartbeats(Endpoint):
    """Heartbeats of several agents of one host, each with its own token and its own result."""

    @documented("Send the heartbeats of several agents", request=HeartbeatsBody, answers={200: BeatResults})
    def post(self, request: Any) -> Response:
        address = addresses.of_request(request)
        try:
            bodies = self.body(HeartbeatsBody)["beats"]
        except APIException:
            # It counts as a batch in which every heartbeat is refused.
            rate_limits.STRANGERS.add(address)
            raise
        parsed = [_parsed(body) for body in bodies]
        beats = [beat for beat in parsed if isinstance(beat, Beat)]
        if batches.is_over_limit(beats):
            raise Throttled(rate_limits.retry_after())
        for body in bodies:
            _note_missing_token(body, address)
        found = iter(batches.errors(beats, batches.commit(beats), address))
        errors = [next(found) if isinstance(beat, Beat) else beat for beat in parsed]
        if batches.has_refused(errors):
            batches.count_refused(beats, address)
        return Response(batches.response_body(bodies, errors))


class UpdateCard(Endpoint):
    """`POST /registry/update-card`"""

    @documented("Update the Agent Card", request=CardBody, answers={200: StatusResponse}, errors=(404, 410))
    def post(self, request: Any) -> Response:
        body = self.body(CardBody)
        workspaces.update_card(body["workspace_id"], body["agent_card"], actor=self.principal.actor)
        return Response({"status": "updated"})


class State(Endpoint):
    """`GET /workspaces/{id}/state`"""

    @documented("Whether a workspace is paused or removed", answers={200: StateResponse}, errors=(404,))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        status = Workspace.objects.filter(id=workspace_id).values_list("status", flat=True).first()
        answer: dict[str, object] = {"workspace_id": workspace_id}
        if status is None:
            return Response(answer | {"deleted": True}, status=404)
        if status == Status.REMOVED:
            return Response(answer | {"status": status, "deleted": True}, status=404)
        return Response(answer | {"status": status, "paused": status == Status.PAUSED, "deleted": False})


class WorkspaceActivity(Endpoint):
    """`POST` and `GET /workspaces/{id}/activity`"""

    @documented(
        "Report activity: one entry or a list", request=ActivityEntry, answers={200: StatusResponse}, errors=(404, 410)
    )
    def post(self, request: Any, workspace_id: UUID) -> Response:
        many = isinstance(request.data, list)
        bodies: Any = self.body(
            ActivityEntry, many=many, **({"max_length": MAX_ENTRIES, "allow_empty": False} if many else {})
        )
        entries = [self._entry(body) for body in (bodies if many else [bodies])]
        reports.report(workspace_id, entries)
        return Response({"status": "logged"} | ({"count": len(entries)} if many else {}))

    @documented(
        "The activity of a workspace, newest first",
        query=ActivityQuery,
        answers={200: ActivityRow(many=True)},
        errors=(404, 410),
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        rows.find(workspace_id)
        wanted = replace(self.filter(filters.activity), workspace_ids=[workspace_id])
        return activity_response(request, log.page(wanted, **self.query(ActivityPageQuery)))

    def _entry(self, body: dict[str, Any]) -> Entry:
        """The source of an agent's entry is always its own workspace. Raises NotAllowed."""
        metadata = body.pop("metadata", None)
        if body.get("request_body") is None:
            body["request_body"] = metadata
        own = self.principal.workspace_id
        if own is not None:
            if body.setdefault("source_id", own) not in (None, own):
                raise NotAllowed("source_id must be the token's own workspace")
            body["source_id"] = own
        return Entry(**body)


class Notify(Endpoint):
    """`POST /workspaces/{id}/notify`"""

    @documented("Send a message to the operators", request=NotifyBody, answers={200: StatusResponse}, errors=(404, 410))
    def post(self, request: Any, workspace_id: UUID) -> Response:
        reports.notify(workspace_id, self.body(NotifyBody)["message"])
        return Response({"status": "sent"})


class TestToken(Endpoint):
    """Issues a workspace token to any caller; only in open mode."""

    @documented("Issue a workspace token (open mode only)", answers={200: dict}, errors=(404,))
    def get(self, request: Any, workspace_id: UUID) -> Response:
        if not settings.MOLECULE_OPEN:
            raise NotFound("not found")
        rows.find(workspace_id)
        token = tokens.issue_workspace_token(workspace_id, label="test", may_reveal=True).text
        return Response({"auth_token": token, "workspace_id": workspace_id})


def _note_missing_token(body: Any, address: str) -> None:
    if isinstance(body, dict) and not body.get("token") and UUID_TEXT.fullmatch(str(body.get("workspace_id"))):
        refusals.note(UUID(body["workspace_id"]), None, address)


def _parsed(body: Any) -> Beat | dict[str, str]:
    """Return the heartbeat, or the error in its body."""
    serializer = HeartbeatWithToken(data=body)
    if not serializer.is_valid():
        return error_body(ValidationError(serializer.errors))
    fields = serializer.validated_data
    presented = tokens.presented_token(fields.pop("token"))
    return Beat(**fields, token=presented) if presented else BadCredential("invalid token").as_body
