"""The layout of the canvas: the place of each card, and the viewport."""

import uuid

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from activity.models import Now
from registry.models import Workspace


class CanvasLayout(models.Model):
    """One row per placed or collapsed workspace; the database deletes it when the workspace is removed."""

    workspace = models.OneToOneField(Workspace, models.DO_NOTHING, primary_key=True, related_name="layout")
    x = models.FloatField(default=0, db_default=0)
    y = models.FloatField(default=0, db_default=0)
    collapsed = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "canvas_layouts"

    def __str__(self) -> str:
        return f"{self.x:g}, {self.y:g}"


class CanvasViewport(models.Model):
    """The saved viewport: the table has at most one row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    x = models.FloatField(default=0, db_default=0)
    y = models.FloatField(default=0, db_default=0)
    zoom = models.FloatField(default=1, db_default=1)
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "canvas_viewport"

    def __str__(self) -> str:
        return f"{self.x:g}, {self.y:g} at {self.zoom:g}"
