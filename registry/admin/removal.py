"""The confirmation page: what a removal takes along, before it does."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry import hierarchy, removal
from registry.admin.bases import actor_of, add_refusal
from registry.admin.forms import RemovalForm
from registry.exceptions import RegistryError
from registry.models import Workspace

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/remove.html"


@dataclass(frozen=True, kw_only=True)
class Team:
    """A workspace to remove, and all that is below it, the nearest first."""

    root: Workspace
    below: list[Workspace]


@dataclass(frozen=True, kw_only=True)
class Plan:
    teams: list[Team]

    @property
    def size(self) -> int:
        return sum(1 + len(team.below) for team in self.teams)

    @property
    def fingerprint(self) -> str:
        ids = sorted(str(w.id) for team in self.teams for w in (team.root, *team.below))
        return hashlib.sha256(",".join(ids).encode()).hexdigest()[:32]


def plan_for(chosen: Sequence[UUID]) -> Plan:
    """Of the chosen, those that live and are not below another one of them."""
    below = {root: hierarchy.descendants(root)[::-1] for root in chosen}
    covered = {one for team in below.values() for one in team}
    rows = {w.id: w for w in _rows({*chosen, *covered})}
    return Plan(
        teams=[
            Team(root=rows[root], below=[rows[one] for one in team if one in rows])
            for root, team in below.items()
            if root in rows and root not in covered
        ]
    )


def page(model_admin: "ModelAdmin[Workspace]", request: Any) -> HttpResponse:
    """GET asks, POST removes."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return ask(model_admin, request, _ids(request.GET.getlist("id")))
    plan = plan_for(_ids(request.POST.get("chosen", "").split(",")))
    form = RemovalForm(request.POST, forwards=len(plan.teams) == 1)
    if form.is_valid() and form.cleaned_data["seen"] != plan.fingerprint:
        form.add_error(None, "What is below has changed since: this is what would go now.")
    if plan.teams and form.is_valid() and _carry_out(model_admin, request, plan, form):
        return HttpResponseRedirect(reverse(LIST_URL))
    return ask(model_admin, request, [team.root.id for team in plan.teams], refused=form)


def ask(
    model_admin: "ModelAdmin[Workspace]", request: Any, chosen: Sequence[UUID], refused: RemovalForm | None = None
) -> HttpResponse:
    plan = plan_for(chosen)
    if not plan.teams:
        messages.warning(request, "There is nothing to remove: it is removed already.")
        return HttpResponseRedirect(reverse(LIST_URL))
    initial = {"chosen": ",".join(str(team.root.id) for team in plan.teams), "seen": plan.fingerprint}
    form = RemovalForm(initial=initial, forwards=len(plan.teams) == 1)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Remove workspaces" if len(plan.teams) > 1 else f"Remove {plan.teams[0].root}",
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "plan": plan,
        "form": form,
        "errors": refused.errors if refused else None,
    }
    return TemplateResponse(request, TEMPLATE, context)


def _carry_out(model_admin: "ModelAdmin[Workspace]", request: Any, plan: Plan, form: RemovalForm) -> bool:
    """Each team in a transaction of its own: locks are taken in one order only within an operation."""
    forward_to = form.cleaned_data.get("forward_to")
    gone, actor = 0, actor_of(request)
    for team in plan.teams:
        try:
            ids = removal.remove(
                team.root.id, actor=actor, confirm=True, forward_to=forward_to.id if forward_to else None
            )
        except RegistryError as refusal:
            add_refusal(form, refusal)
            continue
        gone += len(ids)
        model_admin.log_change(request, team.root, f"Removed, with {len(ids) - 1} below it.")
    if gone:
        messages.success(request, f"Removed {gone} workspace{'' if gone == 1 else 's'}.")
    return form.is_valid()


def _rows(ids: set[UUID]) -> Iterable[Workspace]:
    return Workspace.objects.living().filter(id__in=ids).select_related("parent").defer("agent_card")


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts if text))
    except ValueError:
        raise Http404 from None
