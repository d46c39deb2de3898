"""Tokens: issued for oneself, shown once, listed by prefix and dates (never the hash), and revoked."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import clock
from registry.admin import formats, one_time_secrets
from registry.admin.bases import ReadOnlyAdmin
from registry.admin.lists.bar import FilterBar, Preset
from registry.admin.lists.controls import One, Several
from registry.exceptions import NotFound
from registry.identity import enrolment, tokens
from registry.models import OperatorToken, Status, Token, TokenKind, WorkspaceToken

ISSUE_URL = "admin:registry_operatortoken_issue"
# The name under which a new token waits to be shown.
ISSUED = "operator token"


def _in_state(state: str) -> Q:
    """As Token.is_live() judges one."""
    expired = Q(revoked_at=None, expires_at__lte=clock.now())
    if state == "active":
        return Q(revoked_at=None) & ~expired
    return expired if state == "expired" else Q(revoked_at__isnull=False)


KINDS = [(TokenKind.AGENT, "Agent"), (TokenKind.ENROLMENT, "Enrolment")]
STATES = [("active", "Active"), ("expired", "Expired"), ("revoked", "Revoked")]
STATE = One(name="state", label="State", choices=STATES, meaning=_in_state)
ACTIVE = Preset(label="Active", values={"state": "active"})


class TokenAdmin(ReadOnlyAdmin):
    """`revocation_effect`: what stops working, for the confirmation page. `not_yours`: why a token is not revoked."""

    revocation_effect: str
    not_yours = "Not revoked, because you may revoke only your own"
    has_history = True
    actions = ("revoke",)
    change_list_template = "admin/registry/token/change_list.html"

    def has_revoke_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm(f"registry.change_{self.opts.model_name}"))

    def may_revoke(self, request: Any, token: Any) -> bool:
        """Whether the user may revoke this token."""
        return True

    @admin.action(description="Revoke tokens…", permissions=["revoke"])
    def revoke(self, request: Any, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Asks first; the page it returns posts the same action with `confirmed`. Says what happened to each token."""
        selected = list(queryset)
        allowed = [token for token in selected if self.may_revoke(request, token)]
        live = [token for token in allowed if token.revoked_at is None]
        if live and "confirmed" not in request.POST:
            return self._confirm_revocation(request, live)
        revoked = [token for token in live if self._revoke(request, token)]
        if revoked:
            done = f"Revoked {formats.counted(len(revoked), 'token')}. Connections opened with them are closed."
            self.message_user(request, done, messages.SUCCESS)
        self._warn(request, "Already revoked", [token for token in allowed if token not in revoked])
        self._warn(request, self.not_yours, [token for token in selected if token not in allowed])
        return None

    def _warn(self, request: Any, what: str, tokens: list[Any]) -> None:
        if tokens:
            self.message_user(request, f"{what}: {', '.join(token.prefix for token in tokens)}.", messages.WARNING)

    def _revoke(self, request: Any, token: Any) -> bool:
        """Returns False when it was already revoked."""
        try:
            self.revoke_one(token)
        except NotFound:
            return False
        self.log_change(request, token, "Revoked.")
        return True

    def _confirm_revocation(self, request: Any, tokens: list[Any]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Revoke {formats.counted(len(tokens), 'token')}",
            "opts": self.opts,
            "media": self.media,
            "rows": [
                {"id": one.id, "prefix": one.prefix, "owner": self.owner(one), "last_used": self.last_used(one)}
                for one in tokens
            ],
            "effect": self.revocation_effect,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/registry/token/revoke.html", context)

    def revoke_one(self, token: Any) -> None:
        """Revoke it. Raises NotFound when it was revoked meanwhile."""
        raise NotImplementedError

    def owner(self, token: Any) -> SafeString | str:
        """Returns the workspace or the user that the token belongs to."""
        raise NotImplementedError

    def get_fields(self, request: Any, obj: Any = None) -> Any:
        return [*self.list_display, "revoked", "id"]

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("hash")

    @admin.display(description="state")
    def state(self, token: Token) -> SafeString:
        if token.is_live(clock.now()):
            return formats.badge(Status.ONLINE, "Active")
        if token.revoked_at is None:
            return formats.badge(Status.REMOVED, "Expired")
        return format_html("{} {}", formats.badge(Status.REMOVED, "Revoked"), formats.relative(token.revoked_at))

    @admin.display(description="created", ordering="created_at")
    def created(self, token: Token) -> SafeString:
        return formats.relative(token.created_at)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: Token) -> SafeString:
        return formats.relative(token.last_used_at)

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: Token) -> SafeString:
        return formats.EMPTY if token.revoked_at else formats.until(token.expires_at)

    @admin.display(description="revoked", ordering="revoked_at")
    def revoked(self, token: Token) -> SafeString:
        return formats.relative(token.revoked_at, absent="-")


@admin.register(WorkspaceToken)
class WorkspaceTokenAdmin(TokenAdmin):
    """Tokens of agents, enrolment tokens included."""

    list_display = ["prefix", "owner", "kind", "state", "reads_secrets", "created", "last_used", "expires"]
    filter_bar = FilterBar(
        controls=[
            Several(name="kind", label="Kind", choices=KINDS, lookup="kind"),
            STATE,
            One(
                name="may_reveal",
                label="Secrets",
                choices=[("1", "May read secrets"), ("0", "May not read secrets")],
                meaning=lambda value: Q(may_reveal=value == "1"),
            ),
        ],
        presets=[ACTIVE, Preset(label="May read secrets", values={"state": "active", "may_reveal": "1"})],
    )
    list_select_related = ["workspace"]
    search_fields = ["prefix", "label", "workspace__name", "=workspace__id", "=id"]
    search_help_text = "Workspace, prefix, label or id"
    revocation_effect = (
        "The workspace's agent can no longer send heartbeats or calls with a revoked token, and its connections are "
        "closed. A revoked enrolment token can no longer enrol an agent."
    )

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        return super().get_queryset(request).defer("workspace__agent_card")

    @admin.display(description="workspace", ordering="workspace__name")
    def owner(self, token: WorkspaceToken) -> SafeString:
        return formats.workspace_link(token.workspace_id, token.workspace.name)

    @admin.display(description="secrets", ordering="may_reveal")
    def reads_secrets(self, token: WorkspaceToken) -> SafeString:
        """A mark with a word on those that may read secret values."""
        return formats.badge(Status.DEGRADED, "May read secrets") if token.may_reveal else formats.EMPTY

    def revoke_one(self, token: WorkspaceToken) -> None:
        enrolment.revoke_token(token.workspace_id, token.id)


@admin.register(OperatorToken)
class OperatorTokenAdmin(TokenAdmin):
    """Every user issues, sees and revokes their own; those of others need the permissions to view and delete them."""

    list_display = ["prefix", "owner", "label", "state", "created", "last_used", "expires"]
    filter_bar = FilterBar(controls=[STATE], presets=[ACTIVE])
    list_select_related = ["user"]
    search_fields = ["prefix", "label", "user__username", "=id"]
    search_help_text = "User, prefix, label or id"
    revocation_effect = "Scripts that use a revoked token are refused from now on, and their connections are closed."

    def get_urls(self) -> list[Any]:
        issue = path("issue/", self.admin_site.admin_view(self.issue), name="registry_operatortoken_issue")
        return [issue, *super().get_urls()]

    def has_module_permission(self, request: Any) -> bool:
        return True

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None or obj.user_id == request.user.pk or super().has_view_permission(request, obj)

    def has_revoke_permission(self, request: Any) -> bool:
        return True

    def may_revoke(self, request: Any, token: OperatorToken) -> bool:
        return token.user_id == request.user.pk or bool(request.user.has_perm("registry.delete_operatortoken"))

    def get_queryset(self, request: Any) -> QuerySet[Any]:
        tokens = super().get_queryset(request)
        return tokens if super().has_view_permission(request) else tokens.filter(user=request.user)

    def changelist_view(self, request: Any, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"issue_url": reverse(ISSUE_URL)})

    def issue(self, request: Any) -> HttpResponse:
        """Issue a token for the user (POST) or show the one just issued (GET)."""
        if request.method == "POST":
            text = tokens.issue_operator_token(request.user, label="admin")
            one_time_secrets.put(request, ISSUED, text)
            return HttpResponseRedirect(reverse(ISSUE_URL))
        token = one_time_secrets.pop(request, ISSUED)
        context = {**self.admin_site.each_context(request), "title": "New token", "opts": self.opts, "token": token}
        return TemplateResponse(request, "admin/registry/token/issued.html", context)

    @admin.display(description="user", ordering="user__username")
    def owner(self, token: OperatorToken) -> str:
        return token.user.get_username()

    def revoke_one(self, token: OperatorToken) -> None:
        tokens.revoke_operator_token(token.id)
