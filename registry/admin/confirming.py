"""The page between a verb and what it does: everything it would touch, then the button."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry.admin.bases import actor_of, add_refusal
from registry.admin.forms import ConfirmationForm
from registry.admin.plans import Plan
from registry.admin.verbs import Verb
from registry.exceptions import RegistryError
from registry.models import Workspace

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/confirm.html"
Admin: TypeAlias = "ModelAdmin[Workspace]"


def action(verb: Verb) -> Callable[[Admin, Any, QuerySet[Workspace]], HttpResponse]:
    """For the list of workspaces; always asks."""

    @admin.action(description=f"{verb.title}…", permissions=["change"])
    def act(model_admin: Admin, request: Any, queryset: QuerySet[Workspace]) -> HttpResponse:
        return ask(verb, model_admin, request, list(queryset.values_list("id", flat=True)))

    act.__name__ = verb.name
    return act


def page(verb: Verb, model_admin: Admin, request: Any) -> HttpResponse:
    """GET asks, POST does what was seen. What touches nobody else needs no asking, unless it destroys."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return ask(verb, model_admin, request, _ids(request.GET.getlist("id")))
    plan = verb.plan(_ids(request.POST.get("chosen", "").split(",")))
    seen = request.POST.get("seen")
    if not plan.size or (seen is None and (verb.destroys or not plan.alone)):
        return ask(verb, model_admin, request, _roots(plan))
    form = ConfirmationForm(request.POST, forwards=_forwards(verb, plan))
    if form.is_valid() and seen not in (None, plan.fingerprint):
        form.add_error(None, "What is below has changed since: this is what would be touched now.")
    if form.is_valid() and _carry_out(verb, model_admin, request, plan, form):
        return HttpResponseRedirect(_afterwards(verb, plan))
    return ask(verb, model_admin, request, _roots(plan), refused=form)


def ask(
    verb: Verb,
    model_admin: Admin,
    request: Any,
    chosen: Sequence[UUID],
    refused: ConfirmationForm | None = None,
) -> HttpResponse:
    plan = verb.plan(chosen)
    if not plan.size:
        return _nothing(verb, request, refused)
    initial = {"chosen": ",".join(str(one) for one in _roots(plan)), "seen": plan.fingerprint}
    form = ConfirmationForm(initial=initial, forwards=_forwards(verb, plan))
    one = plan.teams[0].root if len(plan.teams) == 1 else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.title} {one or 'workspaces'}",
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "verb": verb,
        "plan": plan,
        "form": form,
        "errors": refused.errors if refused else None,
        "back": _page_of(one) if one else reverse(LIST_URL),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _carry_out(verb: Verb, model_admin: Admin, request: Any, plan: Plan, form: ConfirmationForm) -> bool:
    """Each team in a transaction of its own: locks are taken in one order only within an operation."""
    forward_to = form.cleaned_data.get("forward_to")
    touched, actor = 0, actor_of(request)
    for team in plan.teams:
        try:
            count = verb.operation(team.root.id, actor, forward_to.id if forward_to else None)
        except RegistryError as refusal:
            add_refusal(form, refusal)
            continue
        touched += count
        model_admin.log_change(request, team.root, f"{verb.title}: {_counted(count)}.")
    if touched:
        messages.success(request, f"{verb.done} {_counted(touched)}.")
    return form.is_valid()


def _nothing(verb: Verb, request: Any, refused: ConfirmationForm | None) -> HttpResponse:
    """Of what was refused nothing is left to ask about; it is said all the same."""
    errors = [str(one) for texts in refused.errors.values() for one in texts] if refused else []
    for text in errors or [verb.nothing]:
        messages.warning(request, text)
    return HttpResponseRedirect(reverse(LIST_URL))


def _afterwards(verb: Verb, plan: Plan) -> str:
    """Where it can be seen: the workspace's page, as long as it lives."""
    gone = verb.destroys and verb.root
    return reverse(LIST_URL) if gone or len(plan.teams) > 1 else _page_of(plan.teams[0].root)


def _forwards(verb: Verb, plan: Plan) -> bool:
    return verb.forwards and len(plan.teams) == 1


def _roots(plan: Plan) -> list[UUID]:
    return [team.root.id for team in plan.teams]


def _page_of(workspace: Workspace) -> str:
    return reverse("admin:registry_workspace_change", args=[workspace.id])


def _counted(count: int) -> str:
    return f"{count} workspace{'' if count == 1 else 's'}"


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts if text))
    except ValueError:
        raise Http404 from None
