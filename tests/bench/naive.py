"""The naive implementation to compare with: one DRF view for heartbeats and one for activity.

Same models, databases and middleware, served by Django under ASGI. Each request looks up its token, locks its row,
writes it and sets its Redis key.
"""

import hashlib
import os
from datetime import timedelta
from hmac import compare_digest
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
django = get_asgi_application()

from django.db import transaction  # noqa: E402  # these need the apps that it loads
from django.shortcuts import get_object_or_404  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.exceptions import AuthenticationFailed  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from activity import bus, redis  # noqa: E402
from activity.events import NewEvent, record  # noqa: E402
from activity.models import ActivityLog, EventType  # noqa: E402
from activity.serializers import ActivityEntry  # noqa: E402
from registry.models import ALIVE, Workspace, WorkspaceToken  # noqa: E402
from registry.structure import projection  # noqa: E402


class BeatBody(serializers.Serializer[Any]):
    workspace_id = serializers.UUIDField()
    error_rate = serializers.FloatField(min_value=0, max_value=1, default=0)
    sample_error = serializers.CharField(allow_blank=True, default="")
    active_tasks = serializers.IntegerField(min_value=0, default=0)
    uptime_seconds = serializers.IntegerField(min_value=0, default=0)
    current_task = serializers.CharField(allow_blank=True, default="")


class View(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def token_of(self, request: Request) -> WorkspaceToken:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = WorkspaceToken.objects.filter(prefix=text.rpartition("_")[0], revoked_at=None).first()
        if token is None or not compare_digest(bytes(token.hash), hashlib.sha256(text.encode()).digest()):
            raise AuthenticationFailed
        return token


class Heartbeat(View):
    def post(self, request: Request) -> Response:
        body = BeatBody(data=request.data)
        body.is_valid(raise_exception=True)
        beat = body.validated_data
        if self.token_of(request).workspace_id != beat["workspace_id"]:
            raise AuthenticationFailed
        with transaction.atomic():
            workspace = get_object_or_404(Workspace.objects.select_for_update(), id=beat["workspace_id"])
            if workspace.status not in ALIVE:
                event = NewEvent(event_type=EventType.WORKSPACE_ONLINE, workspace_id=workspace.id)
                projection.apply(record([event], actor=None))
            Workspace.objects.filter(id=workspace.id).update(
                last_heartbeat_at=timezone.now(),
                lease_expires_at=timezone.now() + timedelta(seconds=settings.LEASE_SECONDS),
                last_error_rate=beat["error_rate"],
                active_tasks=beat["active_tasks"],
                uptime_seconds=beat["uptime_seconds"],
                current_task=beat["current_task"],
            )
        redis.client().set(f"ws:{workspace.id}", "online", ex=int(settings.LEASE_SECONDS))
        return Response({"status": "ok"})


class Activity(View):
    def post(self, request: Request, workspace_id: Any) -> Response:
        if self.token_of(request).workspace_id != workspace_id:
            raise AuthenticationFailed
        body = ActivityEntry(data=request.data)
        body.is_valid(raise_exception=True)
        entry = ActivityLog.objects.create(workspace_id=workspace_id, source_id=workspace_id, **body.validated_data)
        bus.publish([bus.envelope("ACTIVITY_LOGGED", workspace_id, {"summary": entry.summary})])
        return Response({"status": "logged"})


urlpatterns = [
    path("registry/heartbeat", Heartbeat.as_view()),
    path("workspaces/<uuid:workspace_id>/activity", Activity.as_view()),
]
settings.ROOT_URLCONF = __name__
application = django
