"""Read-only lists: agents, tokens (never their hashes), background loops."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString

from registry import loops
from registry.admin import formats
from registry.admin.bases import FactAdmin
from registry.models import Agent, AgentStatus, LoopTick, OperatorToken, Status, Token, WorkspaceToken


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


class TokenAdmin(FactAdmin):
    search_fields = ["prefix", "label"]

    def get_fields(self, request: Any, obj: Any = None) -> Any:
        return [*self.list_display, "expires"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("hash")

    @admin.display(description="state")
    def state(self, token: Token) -> SafeString:
        if token.is_live(timezone.now()):
            return formats.badge(Status.ONLINE, "live")
        return formats.badge(Status.REMOVED, "expired" if token.revoked_at is None else "revoked")

    @admin.display(description="created", ordering="created_at")
    def created(self, token: Token) -> SafeString:
        return formats.relative(token.created_at)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: Token) -> SafeString:
        return formats.relative(token.last_used_at)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: Token) -> SafeString:
        return formats.absolute(token.expires_at)

    @admin.display(description="revoked", ordering="revoked_at")
    def revoked(self, token: Token) -> SafeString:
        return formats.relative(token.revoked_at, absent="-")


@admin.register(WorkspaceToken)
class WorkspaceTokenAdmin(TokenAdmin):
    list_display = ["prefix", "of", "kind", "state", "created", "last_used", "revoked"]
    list_filter = ["kind"]
    list_select_related = ["workspace"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="workspace", ordering="workspace__name")
    def of(self, token: WorkspaceToken) -> SafeString:
        return formats.workspace_link(token.workspace_id, token.workspace.name)


@admin.register(OperatorToken)
class OperatorTokenAdmin(TokenAdmin):
    list_display = ["prefix", "user", "label", "state", "created", "last_used", "revoked"]
    list_select_related = ["user"]


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
