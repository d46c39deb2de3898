"""Read-only lists: model assignments, the secret access log, background jobs."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry.admin import event_summaries, formats
from registry.admin.bases import ReadOnlyAdmin
from registry.models import Agent, AgentStatus, LoopTick, SecretAccess, Status
from registry.supervision import jobs
from registry.supervision.retention import Progress


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    """Model assignments, current and past."""

    labels = ("model assignment", "model assignments")
    list_display = ["model", "workspace_link", "state", "created", "removed", "removal_reason"]
    list_filter = ["status"]
    list_select_related = ["workspace"]
    search_fields = ["model", "workspace__name"]
    fields = ["model", "workspace_link", "state", "created", "removed", "removal_reason", "id"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="workspace", ordering="workspace__name")
    def workspace_link(self, agent: Agent) -> SafeString:
        return formats.workspace_link(agent.workspace_id, agent.workspace.name)

    @admin.display(description="status", ordering="status")
    def state(self, agent: Agent) -> SafeString:
        tone = Status.ONLINE if agent.status == AgentStatus.ACTIVE else Status.REMOVED
        return formats.badge(tone, agent.status)

    @admin.display(description="created", ordering="created_at")
    def created(self, agent: Agent) -> SafeString:
        return formats.relative(agent.created_at)

    @admin.display(description="removed", ordering="removed_at")
    def removed(self, agent: Agent) -> SafeString:
        return formats.relative(agent.removed_at, absent="-")


@admin.register(SecretAccess)
class SecretAccessAdmin(ReadOnlyAdmin):
    """The secret access log."""

    labels = ("secret access", "secret access log")
    list_display = ["when", "actor_name", "action", "key_names", "workspace_link"]
    list_filter = ["action"]
    list_select_related = ["workspace"]
    search_fields = ["actor", "workspace__name"]
    fields = ["when", "actor_name", "action", "key_names", "workspace_link"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="when", ordering="id")
    def when(self, access: SecretAccess) -> SafeString:
        return formats.relative(access.at)

    @admin.display(description="actor", ordering="actor")
    def actor_name(self, access: SecretAccess) -> str:
        return event_summaries.actor_label(access.actor, access.workspace_id, {})

    @admin.display(description="keys")
    def key_names(self, access: SecretAccess) -> str:
        return ", ".join(access.keys)

    @admin.display(description="workspace", ordering="workspace__name")
    def workspace_link(self, access: SecretAccess) -> SafeString | str:
        if access.workspace is None:
            return "all workspaces"
        return formats.workspace_link(access.workspace.id, access.workspace.name)


@admin.register(LoopTick)
class LoopTickAdmin(ReadOnlyAdmin):
    """Background jobs: their last runs and errors."""

    list_display = ["name", "health", "state", "last_tick", "failures"]
    fields = ["name", "health", "state", "running_since", "last_tick", "failures", "last_error", "details"]
    ordering = ["name"]

    @admin.display(description="health")
    def health(self, tick: LoopTick) -> SafeString:
        if not jobs.is_fresh(tick):
            return formats.badge(Status.FAILED, "stale")
        if jobs.is_failing(tick):
            return formats.badge(Status.DEGRADED, "failing")
        return formats.badge(Status.ONLINE, "healthy")

    @admin.display(description="state")
    def state(self, tick: LoopTick) -> SafeString | str:
        """Whether a process leads or stands by; for retention, its progress."""
        return retention_state(tick) if tick.name == jobs.RETENTION else formats.text(tick.detail.get("state"))

    @admin.display(description="errors", ordering="errors")
    def failures(self, tick: LoopTick) -> SafeString:
        if not tick.errors:
            return formats.EMPTY
        last = formats.relative(tick.failed_at), formats.short(tick.last_error)
        return format_html("{}, last {}: {}", f"{tick.errors:,}", *last)

    @admin.display(description="running since", ordering="since")
    def running_since(self, tick: LoopTick) -> SafeString:
        return formats.relative(tick.since)

    @admin.display(description="last tick", ordering="ticked_at")
    def last_tick(self, tick: LoopTick) -> SafeString:
        return formats.relative(tick.ticked_at)

    @admin.display(description="details")
    def details(self, tick: LoopTick) -> SafeString:
        return formats.pretty(tick.detail)


def retention_state(tick: LoopTick) -> SafeString | str:
    """Returns the progress of the running or the last pruning; the plain state before the first."""
    progress = Progress.of(tick.detail)
    if progress.started_at is None:
        return formats.text(tick.detail.get("state"))
    removed = f"{progress.removed:,} rows removed"
    if progress.finished_at is None:
        return f"pruning: {removed} so far"
    return format_html(
        "{}, {} in total; last run {}", removed, f"{progress.total:,}", formats.relative(progress.finished_at)
    )
