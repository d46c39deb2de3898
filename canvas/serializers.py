"""Request and response fields of the canvas API."""

from typing import Any

from rest_framework import serializers

from activity.fields import FiniteFloatField, IgnoredFields, LimitField, RequestFields
from registry.api.connecting import Connection
from registry.api.fields import Coordinate, MomentField
from registry.api.serializers import WorkspaceRow


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


class RemovalResponse(serializers.Serializer[Any]):
    status = serializers.CharField()
    cascade_deleted = serializers.IntegerField()
