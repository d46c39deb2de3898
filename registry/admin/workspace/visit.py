"""A request for a page of a workspace, with what every page shows of it, read once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Subquery
from django.shortcuts import get_object_or_404
from django.urls import reverse

from registry.identity.tokens import principal_for_user
from registry.models import Agent, AgentStatus, Status, Workspace
from registry.organisation.attention import Condition, condition


@dataclass(frozen=True, kw_only=True)
class Visit:
    """`model`: what is assigned. `may_act`: the user may use the verbs, and `may_reveal` let agents read secrets."""

    admin: "ModelAdmin[Workspace]"
    request: Any
    workspace: Workspace
    condition: Condition
    model: str | None
    has_team: bool
    may_act: bool
    may_reveal: bool

    @property
    def is_removed(self) -> bool:
        return self.workspace.status == Status.REMOVED

    def may(self, permission: str) -> bool:
        """Whether the user has a permission such as "registry.view_workspacetoken"."""
        return bool(self.request.user.has_perm(permission))

    def context(self, title: str) -> dict[str, Any]:
        """What every template of the admin needs."""
        return {
            **self.admin.admin_site.each_context(self.request),
            "title": title,
            "opts": self.admin.opts,
            "media": self.admin.media,
            "original": self.workspace,
            "may_act": self.may_act,
        }

    def url(self, name: str, *arguments: Any) -> str:
        """The URL of one of the workspace's pages."""
        return url(name, self.workspace, *arguments)


def url(name: str, workspace: Workspace, *arguments: Any) -> str:
    """The URL of a page of this workspace."""
    return reverse(f"admin:registry_workspace_{name}", args=[workspace.pk, *arguments])


def begin(admin: "ModelAdmin[Workspace]", request: Any, workspace_id: UUID) -> Visit:
    """Read the workspace. Raises Http404, PermissionDenied."""
    children = Workspace.objects.active().filter(parent_id=OuterRef("id"))
    active = Agent.objects.filter(workspace_id=OuterRef("id"), status=AgentStatus.ACTIVE)
    rows = Workspace.objects.select_related("forwarded_to").defer("forwarded_to__agent_card")
    found: Any = get_object_or_404(
        rows.annotate(assigned_model=Subquery(active.values("model")[:1]), has_team=Exists(children)), id=workspace_id
    )
    if not admin.has_view_permission(request, found):
        raise PermissionDenied
    may_act = admin.has_change_permission(request)
    return Visit(
        admin=admin,
        request=request,
        workspace=found,
        condition=condition(workspace_id),
        model=found.assigned_model,
        has_team=found.has_team,
        may_act=may_act,
        may_reveal=may_act and principal_for_user(request.user).may_reveal,
    )
