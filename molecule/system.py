"""The System page: how the platform is, and what its administrators may start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat, pluralize
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import log
from activity.principals import Level
from molecule import platform_status
from molecule.navigation import SYSTEM_PERMISSION
from molecule.platform_status import Job, PlatformStatus, PostgreSQL, Process
from registry.admin import formats
from registry.admin.bases import actor_of
from registry.admin.events.event_summaries import actor_label
from registry.identity.tokens import principal_for_user
from registry.models import Status
from registry.supervision import retention
from registry.supervision.jobs import State
from registry.supervision.retention import Progress

TONES: Mapping[str | None, Status] = {
    State.HEALTHY: Status.ONLINE,
    State.FAILING: Status.DEGRADED,
    State.STOPPED: Status.FAILED,
    "serving": Status.ONLINE,
    "leading": Status.ONLINE,
    "standby": Status.OFFLINE,
    "silent": Status.FAILED,
    None: Status.OFFLINE,
}
"""The statuses whose colours the states of jobs and processes have."""
NOT_ADMINISTRATOR = "Only administrators may prune activity."
NO_RETENTION = "Activity is kept forever: ACTIVITY_RETENTION_DAYS is 0."
ASKED = "Pruning begins within a few seconds. Its progress is shown under Retention."
NO_LEADER = "Pruning begins as soon as a supervisor leads: none does now."
REFRESH_SECONDS = 5
Facts = dict[str, SafeString | str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The state of the platform in a word or two."""

    tone: Status
    words: str


def page(request: Any, context: dict[str, Any]) -> HttpResponse:
    """`context` is that of every admin page."""
    _require(request.user.has_perm(SYSTEM_PERMISSION))
    status = platform_status.read()
    own = {
        "title": "System",
        "status": status,
        "verdict": verdict(status),
        "jobs": [_job(one) for one in status.jobs],
        "processes": [_process(one) for one in status.processes],
        "panels": {name: facts for name, facts in _panels(status).items() if facts},
        "retention": retention_facts(status.retention),
        "may_prune": _may_prune(request.user) and settings.ACTIVITY_RETENTION_DAYS > 0,
        "refresh_seconds": REFRESH_SECONDS,
    }
    return TemplateResponse(request, "admin/system/page.html", {**context, **own})


def prune(request: Any, context: dict[str, Any]) -> HttpResponse:
    """GET says what would be deleted, POST lets the supervisor begin."""
    if not _may_prune(request.user):
        raise PermissionDenied(NOT_ADMINISTRATOR)
    if settings.ACTIVITY_RETENTION_DAYS <= 0:
        messages.warning(request, NO_RETENTION)
        return HttpResponseRedirect(reverse("admin:system"))
    has_leader = bool(platform_status.read().count("leading"))
    if request.method == "POST":
        retention.ask(actor_of(request))
        messages.success(request, ASKED if has_leader else NO_LEADER)
        return HttpResponseRedirect(reverse("admin:system"))
    cutoff = log.retention_cutoff(settings.ACTIVITY_RETENTION_DAYS)
    own = {
        "title": "Prune activity",
        "days": f"{settings.ACTIVITY_RETENTION_DAYS:g}",
        "cutoff": formats.absolute(cutoff),
        "rows": log.about_prunable(cutoff),
        "counted": log.COUNTED,
        "warning": "" if has_leader else NO_LEADER,
    }
    return TemplateResponse(request, "admin/system/prune.html", {**context, **own})


def card() -> dict[str, Any]:
    """What the overview shows of the platform."""
    status = platform_status.recent()
    return {"platform": _summary(status), "platform_status": status, "platform_verdict": verdict(status)}


def verdict(status: PlatformStatus) -> Verdict:
    """One word for all checks, the worst counts."""
    count = len(status.problems)
    if not count:
        return Verdict(tone=Status.ONLINE, words="All healthy")
    tone = Status.FAILED if status.is_failing else Status.DEGRADED
    return Verdict(tone=tone, words=f"{count} problem{pluralize(count)}")


def retention_facts(progress: Progress) -> Facts:
    """What retention does, and how far it is."""
    facts: Facts = {"Keeps": f"{settings.ACTIVITY_RETENTION_DAYS:g} days of activity"}
    if settings.ACTIVITY_RETENTION_DAYS <= 0:
        facts = {"Keeps": "all activity"}
    elif progress.is_running:
        facts["Now"] = f"pruning, {_rows(progress.removed)} removed so far{_for(progress.begun_for)}"
    elif progress.asked_by:
        facts["Now"] = f"begins within a few seconds{_for(progress.asked_by)}"
    if progress.started_at and progress.finished_at:
        took = formats.duration(progress.milliseconds)
        words = "{}, {} removed in {}{}"
        when = formats.relative(progress.finished_at)
        facts["Last run"] = format_html(words, when, _rows(progress.removed), took, _for(progress.begun_for))
        facts["Next run"] = formats.until(progress.next_at) if progress.next_at else formats.EMPTY
    if progress.total:
        facts["Removed in all"] = _rows(progress.total)
    return facts


def _summary(status: PlatformStatus) -> Facts:
    serving, standby, leading = (status.count(state) for state in ("serving", "standby", "leading"))
    facts: Facts = {
        "Web": f"{serving} process{pluralize(serving, 'es')}",
        "Supervisor": f"{leading} leading" + (f", {standby} on standby" if standby else ""),
        "PostgreSQL": "does not answer",
        "Redis": "does not answer",
    }
    if database := status.postgresql:
        facts["PostgreSQL"] = f"{database.version}, {database.connections} of {database.most_connections} connections"
        facts["Replication slots"] = _slots(database, status)
    if status.redis:
        facts["Redis"] = f"{status.redis.version}, {filesizeformat(status.redis.bytes)}"
    if status.retention.is_running:
        facts["Retention"] = f"pruning, {_rows(status.retention.removed)} so far"
    elif status.retention.finished_at:
        when = formats.relative(status.retention.finished_at)
        facts["Retention"] = format_html("ran {}, {}", when, _rows(status.retention.removed))
    return facts


def _panels(status: PlatformStatus) -> dict[str, Facts]:
    checks = status.checks
    panels: dict[str, Facts] = {"PostgreSQL": {}, "Redis": {}, "Versions": dict(platform_status.versions())}
    if database := status.postgresql:
        panels["PostgreSQL"] = {
            "Version": database.version,
            "Size": filesizeformat(database.bytes),
            "Connections": f"{database.connections} of {database.most_connections}",
            "Pool of each web process": f"at most {settings.DATABASE_POOL_SIZE}",
            "Replication slots": _slots(database, status),
            "Migrations": checks["migrations"],
            "Log": f"position {database.head:,}",
            "Change stream": checks["change-stream"],
            "Clocks": checks["clocks"],
            "Role": checks["database-role"],
        }
    if engine := status.redis:
        panels["Redis"] = {
            "Version": engine.version,
            "Memory": filesizeformat(engine.bytes),
            "Connections": str(engine.connections),
            "Expiry notifications": checks["expiry-hints"],
        }
    return panels


def _slots(database: PostgreSQL, status: PlatformStatus) -> str:
    return status.checks["replication-slots"] if database.replication_slots else "none"


def _job(job: Job) -> dict[str, Any]:
    return {
        "job": job,
        "state": formats.badge(TONES[job.state], "Never ran" if job.state is None else str(job.state).capitalize()),
        "last_run": formats.relative(job.last_run, absent=""),
        "took": "" if job.milliseconds is None else formats.duration(job.milliseconds),
        "failed_at": formats.relative(job.failed_at),
    }


def _process(process: Process) -> dict[str, Any]:
    return {
        "process": process,
        "state": formats.badge(TONES[process.state], process.state.capitalize()),
        "since": formats.relative(process.since),
        "reported": formats.relative(process.reported_at),
    }


def _may_prune(user: Any) -> bool:
    return user.has_perm(SYSTEM_PERMISSION) and principal_for_user(user).level >= Level.ADMINISTER


def _require(is_allowed: bool) -> None:
    if not is_allowed:
        raise PermissionDenied


def _rows(count: int) -> str:
    return f"{count:,} row{pluralize(count)}"


def _for(actor: str) -> str:
    return f", for {actor_label(actor, None, {})}" if actor else ""
