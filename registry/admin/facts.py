"""Read-only lists: agents, who touched which secret, background loops."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString

from registry import loops
from registry.admin import formats
from registry.admin.bases import FactAdmin
from registry.models import Agent, AgentStatus, LoopTick, SecretAccess, Status


@admin.register(Agent)
class AgentAdmin(FactAdmin):
    list_display = ["model", "of", "state", "created", "removed", "removal_reason"]
    list_filter = ["status"]
    list_select_related = ["workspace"]
    search_fields = ["model", "workspace__name"]
    fields = ["model", "of", "state", "created", "removed", "removal_reason", "id"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="workspace", ordering="workspace__name")
    def of(self, agent: Agent) -> SafeString:
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
class SecretAccessAdmin(FactAdmin):
    list_display = ["when", "actor", "action", "which", "of"]
    list_filter = ["action"]
    list_select_related = ["workspace"]
    search_fields = ["actor", "workspace__name"]
    fields = ["when", "actor", "action", "which", "of"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="when", ordering="id")
    def when(self, access: SecretAccess) -> SafeString:
        return formats.relative(access.at)

    @admin.display(description="keys")
    def which(self, access: SecretAccess) -> str:
        return ", ".join(access.keys)

    @admin.display(description="workspace", ordering="workspace__name")
    def of(self, access: SecretAccess) -> SafeString | str:
        if access.workspace is None:
            return "all workspaces"
        return formats.workspace_link(access.workspace.id, access.workspace.name)


@admin.register(LoopTick)
class LoopTickAdmin(FactAdmin):
    list_display = ["name", "health", "running_since", "last_tick"]
    fields = ["name", "health", "running_since", "last_tick", "details"]
    ordering = ["name"]

    @admin.display(description="health")
    def health(self, tick: LoopTick) -> SafeString:
        if loops.is_fresh(tick, timezone.now()):
            return formats.badge(Status.ONLINE, "fresh")
        return formats.badge(Status.FAILED, "stale")

    @admin.display(description="running since", ordering="since")
    def running_since(self, tick: LoopTick) -> SafeString:
        return formats.relative(tick.since)

    @admin.display(description="last tick", ordering="ticked_at")
    def last_tick(self, tick: LoopTick) -> SafeString:
        return formats.relative(tick.ticked_at)

    @admin.display(description="details")
    def details(self, tick: LoopTick) -> SafeString:
        return formats.pretty(tick.detail)
