"""GET /metrics: counters of the process that answers, and the state of the platform from the database."""

from collections.abc import Iterator

from django.db import DatabaseError, connection
from django.db.models import Count
from django.db.models.functions import Now
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from rest_framework.request import Request

from activity import redis
from activity.endpoints import Endpoint, documented
from activity.events import latest_seq
from registry.models import LoopTick, Status, Workspace
from registry.organisation.attention import Kind, recent_counts
from registry.supervision import jobs
from registry.supervision.retention import Progress


class Metrics(Endpoint):
    @documented("Metrics for Prometheus", answers={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(Everything()), content_type=content_type)


class Everything(Collector):
    """All metrics; those of the process come first, as they need no database."""

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        up = GaugeMetricFamily("molecule_up", "1 while the dependency answers.", labels=["dependency"])
        yield from _database(up)
        up.add_metric(["redis"], _redis_answers())
        yield up


def _database(up: GaugeMetricFamily) -> list[Metric]:
    """All metrics from the database, or none when one query fails: some alone would look like a change."""
    try:
        found = [*_organisation(), *_loops(jobs.every())]
    except (DatabaseError, PoolTimeout):
        found = []
    up.add_metric(["postgres"], float(bool(found)))
    return found


def _redis_answers() -> float:
    try:
        return float(redis.client().ping())
    except RedisError:
        return 0.0


def _organisation() -> Iterator[Metric]:
    counted = dict(Workspace.objects.order_by().values_list("status").annotate(Count("id")))
    workspaces = GaugeMetricFamily("molecule_workspaces", "Workspaces by status.", labels=["status"])
    for status in Status:
        workspaces.add_metric([status], counted.get(status, 0))
    yield workspaces
    flapping = Workspace.objects.active().filter(flapping_until__gt=Now()).count()
    yield GaugeMetricFamily("molecule_workspaces_flapping", "Workspaces that went offline repeatedly.", value=flapping)
    attention = GaugeMetricFamily(
        "molecule_attention", "Workspaces that need somebody, by problem; one may have several.", labels=["kind"]
    )
    for kind in Kind:
        attention.add_metric([kind], recent_counts().kinds.get(kind, 0))
    yield attention
    yield GaugeMetricFamily("molecule_event_seq", "Position of the newest structure event.", value=latest_seq())
    rows = _activity_rows()
    if rows is not None:
        yield GaugeMetricFamily(
            "molecule_activity_rows", "Activity rows, as PostgreSQL's planner estimates.", value=rows
        )


def _activity_rows() -> float | None:
    """The planner's estimate, as counting millions of rows takes too long; None before the first ANALYZE."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'activity_logs'::regclass")
        estimate: float = cursor.fetchone()[0]
    return None if estimate < 0 else estimate


def _loops(ticks: list[LoopTick]) -> Iterator[Metric]:
    """Jobs by name. Supervisor processes come and go, so only their number is reported."""
    age = GaugeMetricFamily(
        "molecule_loop_age_seconds", "Seconds since the job's last completed step.", labels=["loop"]
    )
    errors = CounterMetricFamily("molecule_loop_errors", "Steps of the job that failed.", labels=["loop"])
    supervisors = GaugeMetricFamily("molecule_supervisors", "Running supervisor processes.", labels=["state"])
    for tick in (tick for tick in ticks if not jobs.is_process(tick)):
        if (seconds := jobs.age(tick)) is not None:
            age.add_metric([tick.name], seconds)
        errors.add_metric([tick.name], tick.errors)
    states = [tick.detail.get("state") for tick in ticks if tick.name.startswith(jobs.PROCESS) and jobs.is_fresh(tick)]
    for state in ("leading", "standby"):
        supervisors.add_metric([state], states.count(state))
    yield from (age, errors, supervisors)
    yield from _retention(next((tick for tick in ticks if tick.name == jobs.RETENTION), None))


def _retention(tick: LoopTick | None) -> Iterator[Metric]:
    progress = Progress.of(tick.detail if tick else {})
    yield CounterMetricFamily(
        "molecule_activity_pruned", "Activity rows that retention has removed.", value=progress.total
    )
    if progress.finished_at is not None:
        last = progress.finished_at.timestamp()
        yield GaugeMetricFamily("molecule_retention_last_run_timestamp_seconds", "When its last run ended.", value=last)
