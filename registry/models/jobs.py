"""The status row of each background job."""

from datetime import datetime

from django.db import models
from django.db.models import functions


class LoopTicks(models.Manager["LoopTick"]):
    """Rows come with `now`, the time of the database."""

    def get_queryset(self) -> models.QuerySet["LoopTick"]:
        return super().get_queryset().annotate(now=functions.Now())  # type: ignore[no-redef]


class LoopTick(models.Model):
    """A background job: when it last completed a step, and its errors.

    `since`: it has run without a break since then. `last_error` happened at `failed_at`. `now`: when the row was read.
    All times are of PostgreSQL's clock, so they can be compared; the clocks of hosts may differ.
    """

    now: datetime

    name = models.TextField(primary_key=True)
    since = models.DateTimeField()
    ticked_at = models.DateTimeField(null=True)
    errors = models.BigIntegerField(default=0, db_default=0)
    last_error = models.TextField(null=True)
    failed_at = models.DateTimeField(null=True)
    detail = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))

    objects = LoopTicks()

    class Meta:
        db_table = "loop_ticks"
        verbose_name = "background job"
        verbose_name_plural = "background jobs"

    def __str__(self) -> str:
        return self.name
