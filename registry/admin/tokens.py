"""Tokens in the admin: prefix and dates, never the hash; issued for oneself, revoked by who may."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from registry.admin import formats
from registry.admin.bases import FactAdmin
from registry.identity import enrolment, tokens
from registry.models import OperatorToken, Status, Token, WorkspaceToken


class TokenAdmin(FactAdmin):
    """Tokens are never edited: they are issued, shown once, and revoked."""

    search_fields = ["prefix", "label"]
    actions = ["revoke"]  # type: ignore[assignment]
    change_list_template = "admin/registry/token/change_list.html"

    def has_revoke_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm(f"registry.change_{self.opts.model_name}"))

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: Any, queryset: QuerySet[Any]) -> None:
        live = [token for token in queryset if token.revoked_at is None]
        for token in live:
            self.end(token)
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{len(live)} revoked; what they opened is closed.", messages.SUCCESS)

    def end(self, token: Any) -> None:
        raise NotImplementedError

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

    def end(self, token: WorkspaceToken) -> None:
        enrolment.revoke_token(token.workspace_id, token.id)


@admin.register(OperatorToken)
class OperatorTokenAdmin(TokenAdmin):
    """Everybody may have tokens of their own; whose others are is for those who may see that."""

    list_display = ["prefix", "user", "label", "state", "created", "last_used", "revoked"]
    list_select_related = ["user"]

    def get_urls(self) -> list[Any]:
        issue = path("issue/", self.admin_site.admin_view(self.issue), name="registry_operatortoken_issue")
        return [issue, *super().get_urls()]

    def has_module_permission(self, request: Any) -> bool:
        return True

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None or obj.user_id == request.user.pk or super().has_view_permission(request, obj)

    def has_revoke_permission(self, request: Any) -> bool:
        return True

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        tokens = super().get_queryset(request)
        return tokens if super().has_view_permission(request) else tokens.filter(user=request.user)

    def changelist_view(self, request: Any, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"issue_url": reverse("admin:registry_operatortoken_issue")})

    def issue(self, request: Any) -> HttpResponse:
        """A token for whoever asks, shown in the answer and nowhere else."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        text = tokens.issue_operator_token(request.user, label="admin")
        context = {**self.admin_site.each_context(request), "title": "Your new token", "opts": self.opts, "token": text}
        return TemplateResponse(request, "admin/registry/token/issued.html", context)

    def end(self, token: OperatorToken) -> None:
        tokens.revoke_operator_token(token.id)
