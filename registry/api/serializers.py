"""Request and response bodies of the registry API."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from activity import clock
from activity.fields import FiniteFloatField, RequestFields
from activity.serializers import MAX_INT
from registry.api.connecting import Connection
from registry.api.fields import (
    AgentCardField,
    AgentUrlField,
    BoundedList,
    Coordinate,
    MomentField,
    NameField,
    RoleField,
    RuntimeField,
    RuntimeStateField,
    SecretsField,
    SecretValueField,
    TierField,
)
from registry.identity.refusals import Reason
from registry.liveness.heartbeats import WEDGED
from registry.liveness.presence import MAX_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS
from registry.models import (
    DEFAULT_TIER,
    Agent,
    Deployment,
    Workspace,
    WorkspaceToken,
    no_line_breaks,
    secret_key_name,
)
from registry.organisation import undo
from registry.structure import shown_deployments
from registry.structure.access import Rule

MAX_BEATS = 500
"""Heartbeats in one request."""


class RegisterBody(RequestFields):
    """What an agent says of itself when it registers."""

    id = serializers.UUIDField()
    url = AgentUrlField()
    agent_card = AgentCardField()
    heartbeat_interval = serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=MIN_INTERVAL_SECONDS,
        max_value=MAX_INTERVAL_SECONDS,
        help_text="In seconds. A lease then lasts 2.5 times as long.",
    )


class RegistrationResponse(serializers.Serializer[Any]):
    """The answer to a registration."""

    status = serializers.CharField()
    auth_token = serializers.CharField(required=False, help_text="The workspace's token. It is not shown again.")


class HeartbeatBody(RequestFields):
    """Texts longer than 4,000 characters are cut."""

    workspace_id = serializers.UUIDField()
    error_rate = FiniteFloatField(default=0.0, min_value=0, max_value=1)
    sample_error = serializers.CharField(default="", allow_blank=True)
    active_tasks = serializers.IntegerField(default=0, min_value=0, max_value=MAX_INT)
    uptime_seconds = serializers.IntegerField(default=0, min_value=0, max_value=MAX_INT)
    current_task = serializers.CharField(default="", allow_blank=True)
    runtime_state = RuntimeStateField(help_text=f"“{WEDGED}”: the agent cannot work, and is degraded.")


class HeartbeatWithToken(HeartbeatBody):
    """A heartbeat of a batch, with its workspace's token."""

    token = serializers.CharField(write_only=True, help_text="The workspace's token.")


class HeartbeatsBody(RequestFields):
    """The heartbeats of several agents."""

    beats = BoundedList(
        child=serializers.JSONField(),
        max_length=MAX_BEATS,
        help_text="Heartbeats, each with the token of its workspace.",
    )


class BeatResult(serializers.Serializer[Any]):
    """The result of one heartbeat of a batch."""

    workspace_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(["ok", "error"])
    error = serializers.CharField(required=False)
    code = serializers.CharField(required=False)
    field = serializers.CharField(required=False)


class BeatResults(serializers.Serializer[Any]):
    """The results of a batch of heartbeats."""

    results = BeatResult(many=True, help_text="In the order of the beats.")


class CardBody(RequestFields):
    """A new Agent Card."""

    workspace_id = serializers.UUIDField()
    agent_card = AgentCardField()


class StatusResponse(serializers.Serializer[Any]):
    """The word for what was done."""

    status = serializers.CharField()


class NoAttachments(serializers.ListField):
    """An empty list: a message whose attachments would be lost is refused."""

    default_error_messages = dict.fromkeys(("not_a_list", "max_length"), "are not supported yet")


class NotifyBody(RequestFields):
    """A message to operators."""

    message = serializers.CharField(max_length=64 * 1024)
    attachments = NoAttachments(default=list, allow_null=True, max_length=0, help_text="Not supported yet.")


class StateResponse(serializers.Serializer[Any]):
    """Whether a workspace is paused or removed."""

    workspace_id = serializers.UUIDField()
    status = serializers.CharField(required=False)
    paused = serializers.BooleanField(required=False)
    deleted = serializers.BooleanField()


class Place(RequestFields):
    """A position on the canvas."""

    x = Coordinate()
    y = Coordinate()


class SecretBody(RequestFields):
    """A secret to store."""

    key = serializers.CharField(trim_whitespace=False, validators=[secret_key_name])
    value = SecretValueField()


class WorkspaceBody(RequestFields):
    """A new workspace. Unknown fields are ignored."""

    name = NameField()
    role = RoleField(default=None)
    tier = TierField(default=0, zero=0, help_text="0, the default, means that of the template, or 1.")
    runtime = RuntimeField(default="")
    parent_id = serializers.UUIDField(default=None, allow_null=True)
    model = serializers.CharField(default=None, allow_null=True, max_length=100, validators=[no_line_breaks])
    template = serializers.CharField(default=None, allow_null=True, max_length=255, validators=[no_line_breaks])
    external = serializers.BooleanField(
        default=False, help_text="The agent runs elsewhere; its runtime is “external”. With a url it is online at once."
    )
    url = AgentUrlField(default=None, allow_null=True)
    canvas = Place(default=None, allow_null=True)
    secrets = SecretsField(default=dict, write_only=True, help_text="For administrators.")


class WorkspaceChanges(RequestFields):
    """The fields that PATCH can change; x and y are sent together. Unknown fields are ignored."""

    never_empty = ("name",)
    name = NameField(required=False)
    role = RoleField(required=False)
    tier = TierField(required=False)
    runtime = RuntimeField(required=False)
    parent_id = serializers.UUIDField(required=False, allow_null=True)
    x = Coordinate(required=False)
    y = Coordinate(required=False)
    collapsed = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("x" in attrs) != ("y" in attrs):
            raise serializers.ValidationError({"x": "send x and y together"})
        return attrs


class RemovalQuery(RequestFields):
    """How to remove a workspace that has a team or a successor."""

    confirm = serializers.BooleanField(default=False)
    forward_to = serializers.UUIDField(default=None, allow_null=True)


class ModelBody(RequestFields):
    """The model to assign."""

    model = serializers.CharField(max_length=100, validators=[no_line_breaks])


class ModelAssignment(RequestFields):
    """The model to assign; "" for none."""

    model = serializers.CharField(allow_blank=True, max_length=100, validators=[no_line_breaks])


class AgentMoveBody(RequestFields):
    """The workspace to which the agent moves."""

    target_workspace_id = serializers.UUIDField()


class UndoBody(RequestFields):
    """`POST /workspaces/{id}/undo`: the events of the changes."""

    event_ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=undo.MOST_EVENTS)


class UnassignBody(RequestFields):
    """Why a model is unassigned."""

    reason = serializers.CharField(default=None, allow_null=True, allow_blank=True, max_length=1000)


class AgentRow(serializers.ModelSerializer[Agent]):
    """A model assignment, current or past."""

    agent_id = serializers.UUIDField(source="id")

    class Meta:
        model = Agent
        fields = ["agent_id", "workspace_id", "model", "status", "removed_at", "removal_reason", "created_at"]


class MemberBody(RequestFields):
    """A new member of a team."""

    name = NameField()
    role = RoleField(default=None)
    tier = TierField(default=DEFAULT_TIER)
    model = serializers.CharField(default=None, allow_null=True, max_length=100, validators=[no_line_breaks])


class ExpandBody(RequestFields):
    """The new members of a team."""

    members = BoundedList(child=MemberBody(), default=list, max_length=100)


class AccessBody(RequestFields):
    """Two workspaces."""

    caller_id = serializers.UUIDField()
    target_id = serializers.UUIDField()


class ExplainQuery(RequestFields):
    """Two workspaces, and optionally a moment in the past."""

    caller = serializers.UUIDField()
    target = serializers.UUIDField()
    at = MomentField(required=False)


class DiffQuery(RequestFields):
    """Two moments; the second is now by default."""

    def get_fields(self) -> dict[str, Any]:
        """A method, because `from` is a keyword in Python."""
        return {"from": MomentField(), "to": MomentField(required=False)}


class ExplainResponse(serializers.Serializer[Any]):
    """Whether two workspaces may talk, by which rule, and at which position."""

    allowed = serializers.BooleanField()
    rule = serializers.ChoiceField([rule.value for rule in Rule])
    seq = serializers.IntegerField()


class DiscoveryResponse(serializers.Serializer[Any]):
    """Where an agent can be reached."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()


class PeerRow(serializers.ModelSerializer[Workspace]):
    """A workspace as its peers see it. For the documentation only: discovery.peers builds the response."""

    url = serializers.CharField()

    class Meta:
        model = Workspace
        fields = ["id", "name", "role", "tier", "status", "agent_card", "url", "parent_id", "active_tasks"]


class SecretRow(serializers.Serializer[Any]):
    """A secret without its value."""

    key = serializers.CharField()
    has_value = serializers.BooleanField()
    scope = serializers.ChoiceField(["workspace", "global"])
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class RevealAllowed(serializers.Serializer[Any]):
    """The workspace may read the values of its secrets."""

    status = serializers.CharField()
    tokens = serializers.IntegerField(help_text="How many tokens may do so now; those that follow from them may too.")


class TokenBody(RequestFields):
    """A token to issue."""

    label = serializers.CharField(default="", allow_blank=True, max_length=100)  # type: ignore[assignment]
    expires_at = serializers.DateTimeField(default=None, allow_null=True)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= clock.now():
            raise serializers.ValidationError("must be in the future")
        return value


class TokenIssued(serializers.Serializer[Any]):
    """A new token."""

    id = serializers.UUIDField()
    auth_token = serializers.CharField(help_text="It is not stored and not shown again.")
    prefix = serializers.CharField()


class TokenRow(serializers.ModelSerializer[WorkspaceToken]):
    """A token without its text."""

    class Meta:
        model = WorkspaceToken
        fields = ["id", "kind", "prefix", "label", "created_at", "last_used_at", "expires_at", "may_reveal"]


class TokenList(serializers.Serializer[Any]):
    """The tokens of a workspace."""

    count = serializers.IntegerField()
    tokens = TokenRow(many=True)


class EnrolmentIssued(serializers.Serializer[Any]):
    """A new enrolment token."""

    enrolment_token = serializers.CharField(help_text="Lets one agent register once. It is not shown again.")
    expires_at = serializers.DateTimeField()
    connection = Connection()


class LastRefusal(serializers.Serializer[Any]):
    """The last refused credential since the last good heartbeat, and how many there were."""

    at = serializers.DateTimeField()
    count = serializers.IntegerField()
    reason = serializers.ChoiceField([reason.value for reason in Reason])
    address = serializers.CharField(help_text="The client's address.")


class DeploymentRow(serializers.ModelSerializer[Deployment]):
    """What is known of an agent that Molecule runs."""

    needs_restart = serializers.BooleanField(
        help_text="Files, secrets, tier or runtime have changed since the agent was started."
    )

    class Meta:
        model = Deployment
        fields = list(shown_deployments.COLUMNS)


class WorkspaceRow(serializers.ModelSerializer[Workspace]):
    """A workspace as clients see it. For the documentation only: canvas.snapshot builds the response."""

    external = serializers.BooleanField(help_text="Its agent runs elsewhere: its runtime is “external”.")
    model = serializers.CharField(help_text="The model that is assigned to it; empty without one.")
    x = serializers.FloatField()
    y = serializers.FloatField()
    collapsed = serializers.BooleanField()
    last_refusal = LastRefusal(allow_null=True, required=False, help_text="For operators only.")
    deployment = DeploymentRow(
        allow_null=True, required=False, help_text="For operators only; null where Molecule does not run the agent."
    )

    class Meta:
        model = Workspace
        fields = [
            "id", "name", "role", "tier", "status", "agent_card", "url", "parent_id", "forwarded_to",
            "source_bundle_id", "active_tasks", "last_error_rate", "last_sample_error", "uptime_seconds",
            "current_task", "runtime", "external", "model", "last_heartbeat_at", "flapping_until",
            "enrolment_expires_at", "last_refusal", "deployment", "created_at", "updated_at", "x", "y", "collapsed",
        ]  # fmt: skip
