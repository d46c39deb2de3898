"""Shared by the admin's tests: URLs, and forms as the pages contain them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activity.models import ActivityLog, StructureEvent
from registry.models import Agent, Workspace, WorkspaceToken

CANARY = "canary-5f1c-never-shown"
LISTS = [
    "registry_workspace", "registry_agent", "registry_workspacesecret", "registry_globalsecret",
    "registry_workspacetoken", "registry_operatortoken",
    "activity_activitylog", "activity_structureevent", "auth_user", "auth_group",
]  # fmt: skip
READ_ONLY = [Agent, WorkspaceToken, ActivityLog, StructureEvent]
WORKSPACES = "admin:registry_workspace_changelist"

Make = Callable[..., Workspace]


def client_with(django_user_model: type[User], **permissions: Any) -> Client:
    user = django_user_model.objects.create_user(f"user-{uuid4().hex[:6]}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(**permissions))
    client = Client()
    client.force_login(user)
    return client


def change_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])


def url_of(name: str, workspace: Workspace | None = None) -> str:
    """Returns the URL of a verb's page; some verbs need a workspace, some none."""
    return reverse(f"admin:registry_workspace_{name}", args=[workspace.id] if workspace else [])


def settings_url(workspace: Workspace) -> str:
    """Returns the URL of the form of a workspace."""
    return url_of("settings", workspace)


def confirmation_url(verb: str, *workspaces: Workspace) -> str:
    return f"{url_of(verb)}?{'&'.join(f'id={w.id}' for w in workspaces)}"


def confirmation_form(client: Client, verb: str, *workspaces: Workspace) -> dict[str, str]:
    """Returns the form of the confirmation page."""
    return dict(client.get(confirmation_url(verb, *workspaces)).context["form"].initial)


def form_of(workspace: Workspace, **changes: Any) -> dict[str, Any]:
    fields = {
        "name": workspace.name,
        "role": workspace.role or "",
        "tier": workspace.tier,
        "runtime": workspace.runtime or "",
        "parent": str(workspace.parent_id or ""),
    }
    return fields | {f"initial-{name}": value for name, value in fields.items()} | changes


def last_event(workspace_id: Any) -> StructureEvent:
    event = StructureEvent.objects.filter(workspace_id=workspace_id).order_by("-seq").first()
    assert event is not None
    return event


def shown_messages(answer: Any) -> list[str]:
    """Returns the messages on a page."""
    return [str(message) for message in answer.context["messages"]]


def executed_sql(client: Client, url: str, **query: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url, query).status_code == 200
    return [query["sql"] for query in captured.captured_queries]
