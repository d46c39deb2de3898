"""Secrets: stored, replaced and deleted. Neither their values nor the encrypted bytes are ever shown."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from registry.admin import formats
from registry.admin.bases import OperationAdmin, actor_of
from registry.admin.forms import SecretForm
from registry.models import GlobalSecret, SealedSecret, WorkspaceSecret
from registry.secrets import store


class SecretAdmin(OperationAdmin):
    """Secrets: written and deleted here, never shown."""

    form = SecretForm
    search_fields = ["key"]
    ordering = ["key", "id"]

    def store_value(self, secret: Any, value: str, actor: str) -> None:
        """Encrypt and store the value; sets the primary key of `secret`."""
        raise NotImplementedError

    def delete_value(self, secret: Any, actor: str) -> None:
        """Delete the secret."""
        raise NotImplementedError

    @method_decorator(sensitive_post_parameters("value"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("encrypted_value")

    def save_model(self, request: Any, obj: Any, form: SecretForm, change: bool) -> None:
        self.store_value(obj, form.cleaned_data["value"], actor_of(request))

    def delete_model(self, request: Any, obj: Any) -> None:
        self.delete_value(obj, actor_of(request))

    @admin.display(description="created", ordering="created_at")
    def created(self, secret: SealedSecret) -> SafeString:
        return formats.relative(secret.created_at)

    @admin.display(description="updated", ordering="updated_at")
    def updated(self, secret: SealedSecret) -> SafeString:
        return formats.relative(secret.updated_at)


@admin.register(WorkspaceSecret)
class WorkspaceSecretAdmin(SecretAdmin):
    """Secrets of one workspace."""

    list_display = ["key", "workspace_link", "created", "updated"]
    list_select_related = ["workspace"]
    search_fields = ["key", "workspace__name"]
    fields = ["workspace", "key", "value"]

    def get_readonly_fields(self, request: Any, obj: WorkspaceSecret | None = None) -> tuple[str, ...]:
        return () if obj is None else ("workspace", "key")

    def store_value(self, secret: WorkspaceSecret, value: str, actor: str) -> None:
        store.set_for_workspace(secret.workspace_id, secret.key, value, actor=actor)
        secret.pk = WorkspaceSecret.objects.only("id").get(workspace=secret.workspace_id, key=secret.key).pk

    def delete_value(self, secret: WorkspaceSecret, actor: str) -> None:
        store.delete_for_workspace(secret.workspace_id, secret.key, actor=actor)

    @admin.display(description="workspace", ordering="workspace__name")
    def workspace_link(self, secret: WorkspaceSecret) -> SafeString:
        return formats.workspace_link(secret.workspace_id, secret.workspace.name)


@admin.register(GlobalSecret)
class GlobalSecretAdmin(SecretAdmin):
    """Secrets of all workspaces."""

    list_display = ["key", "created", "updated"]
    fields = ["key", "value"]

    def get_readonly_fields(self, request: Any, obj: GlobalSecret | None = None) -> tuple[str, ...]:
        return () if obj is None else ("key",)

    def store_value(self, secret: GlobalSecret, value: str, actor: str) -> None:
        store.set_for_all(secret.key, value, actor=actor)
        secret.pk = GlobalSecret.objects.only("id").get(key=secret.key).pk

    def delete_value(self, secret: GlobalSecret, actor: str) -> None:
        store.delete_for_all(secret.key, actor=actor)
