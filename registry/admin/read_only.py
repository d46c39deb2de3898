"""Read-only lists: model assignments, the secret access log."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.safestring import SafeString

from registry.admin import formats
from registry.admin.bases import ReadOnlyAdmin
from registry.admin.events import event_summaries
from registry.admin.lists.bar import FilterBar
from registry.admin.lists.controls import Several
from registry.models import Agent, AgentStatus, SecretAccess, SecretAction, Status


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    """Model assignments, current and past."""

    labels = ("model assignment", "model assignments")
    list_display = ["model", "workspace_link", "state", "created", "removed", "removal_reason"]
    filter_bar = FilterBar(
        controls=[Several(name="status", label="Status", choices=AgentStatus.choices, lookup="status")]
    )
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
        return formats.badge(tone, agent.get_status_display())

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
    counted_as = ("entry", "entries")
    empty_text = "Nobody has used a secret yet."
    list_display = ["when", "actor_name", "action", "key_names", "workspace_link"]
    filter_bar = FilterBar(
        controls=[Several(name="action", label="Action", choices=SecretAction.choices, lookup="action")]
    )
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
