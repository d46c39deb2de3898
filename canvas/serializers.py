"""Request and response fields of the canvas API."""

from typing import Any

from rest_framework import serializers

from activity.fields import FiniteFloatField, IgnoredFields, LimitField, RequestFields
from activity.serializers import SomeTimeField
from registry.api.connecting import Connection
from registry.api.fields import Coordinate, MomentField
from registry.api.serializers import WorkspaceRow
from registry.models import Status
from registry.organisation import filters

SEVERAL = "Several, separated by commas or repeated"


class ViewportBody(RequestFields):
    x = Coordinate()
    y = Coordinate()
    zoom = FiniteFloatField(min_value=0.05, max_value=10)


class SnapshotQuery(RequestFields):
    at = MomentField(required=False)


class SnapshotResponse(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    before = serializers.IntegerField(
        required=False, help_text="In the past: the position before the last transaction that is included."
    )
    at = serializers.DateTimeField()
    workspaces = WorkspaceRow(many=True)
    viewport = ViewportBody()


class PageQuery(RequestFields):
    """All workspaces; with `limit` one page, and `Link: rel="next"` if there are more."""

    after = serializers.UUIDField(required=False)
    limit = LimitField(most=1000, default=None)


class WorkspaceQuery(PageQuery):
    """For the documentation only: registry.organisation.filters reads the filters."""

    q = serializers.CharField(required=False, help_text="Words in the name or the role, or an id.")
    status = serializers.CharField(required=False, help_text=f"{SEVERAL}: {', '.join(Status.values)}.")
    tier = serializers.CharField(required=False, help_text=f"{SEVERAL}: {', '.join(filters.TIERS)}.")
    runtime = serializers.CharField(required=False, help_text=f"{SEVERAL}; `unknown` for those without one.")
    team = serializers.UUIDField(required=False, help_text="Everything below this workspace.")
    position = serializers.ChoiceField((filters.TOP, filters.TEAM), required=False)
    attention = serializers.BooleanField(required=False, help_text="Those that need somebody, as in `GET /overview`.")
    flapping = serializers.BooleanField(required=False)
    silent = serializers.BooleanField(required=False, help_text="Heartbeats are expected, and the lease has ended.")
    heartbeat_after = SomeTimeField()
    heartbeat_before = SomeTimeField()
    created_after = SomeTimeField()
    created_before = SomeTimeField()
    state = serializers.ChoiceField(
        (filters.ACTIVE, filters.REMOVED, filters.ALL),
        required=False,
        help_text="Active ones, unless `status` says so.",
    )


class CreatedResponse(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    enrolment_token = serializers.CharField(
        required=False, help_text="Lets one agent register once for this workspace."
    )
    external = serializers.BooleanField(required=False)
    connection = Connection(required=False)
    ignored_fields = IgnoredFields()


class UpdatedResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    ignored_fields = IgnoredFields()
    needs_restart = serializers.BooleanField(required=False)
    event_ids = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        help_text="The events of the change, for `POST /workspaces/{id}/undo`; without any, nothing is to be undone.",
    )


class RemovalResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    cascade_deleted = serializers.IntegerField()


class OneWorkspaceRow(WorkspaceRow):
    """A workspace that was asked for by its id."""

    agent_card_problems = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="What cannot be used in its Agent Card, one sentence each. For operators and the workspace itself.",
    )
    missing_environment = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Variables that its config.yaml requires and that are not among its secrets. For the same.",
    )

    class Meta(WorkspaceRow.Meta):
        fields = [*WorkspaceRow.Meta.fields, "agent_card_problems", "missing_environment"]
