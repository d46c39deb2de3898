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

from registry.admin.bases import actor_of, add_operation_error
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
        return confirm(verb, model_admin, request, list(queryset.values_list("id", flat=True)))

    act.__name__ = verb.name
    return act


def page(verb: Verb, model_admin: Admin, request: Any) -> HttpResponse:
    """GET asks, POST does what was seen. What touches nobody else needs no asking, unless it destructive."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return confirm(verb, model_admin, request, _ids(request.GET.getlist("id")))
    plan = verb.plan(_ids(request.POST.get("chosen", "").split(",")))
    seen = request.POST.get("seen")
    if not plan.size or (seen is None and (verb.destructive or not plan.affects_only_chosen)):
        return confirm(verb, model_admin, request, _root_ids(plan))
    form = ConfirmationForm(request.POST, can_forward=_can_forward(verb, plan))
    if form.is_valid() and seen not in (None, plan.fingerprint):
        form.add_error(None, "What is below has changed since: this is what would be affected now.")
    if form.is_valid() and _execute(verb, model_admin, request, plan, form):
        return HttpResponseRedirect(_success_url(verb, plan))
    return confirm(verb, model_admin, request, _root_ids(plan), invalid_form=form)


def confirm(
    verb: Verb,
    model_admin: Admin,
    request: Any,
    workspace_ids: Sequence[UUID],
    invalid_form: ConfirmationForm | None = None,
) -> HttpResponse:
    plan = verb.plan(workspace_ids)
    if not plan.size:
        return _nothing_to_do(verb, request, invalid_form)
    initial = {"chosen": ",".join(str(one) for one in _root_ids(plan)), "seen": plan.fingerprint}
    form = ConfirmationForm(initial=initial, can_forward=_can_forward(verb, plan))
    one = plan.teams[0].root if len(plan.teams) == 1 else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.title} {one or 'workspaces'}",
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "verb": verb,
        "plan": plan,
        "form": form,
        "errors": invalid_form.errors if invalid_form else None,
        "back": _change_url(one) if one else reverse(LIST_URL),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _execute(verb: Verb, model_admin: Admin, request: Any, plan: Plan, form: ConfirmationForm) -> bool:
    """Each team in a transaction of its own: locks are taken in one order only within an operation."""
    forward_to = form.cleaned_data.get("forward_to")
    affected, actor = 0, actor_of(request)
    for team in plan.teams:
        try:
            count = verb.operation(team.root.id, actor, forward_to.id if forward_to else None)
        except RegistryError as error:
            add_operation_error(form, error)
            continue
        affected += count
        model_admin.log_change(request, team.root, f"{verb.title}: {_count_label(count)}.")
    if affected:
        messages.success(request, f"{verb.past_tense} {_count_label(affected)}.")
    return form.is_valid()


def _nothing_to_do(verb: Verb, request: Any, invalid_form: ConfirmationForm | None) -> HttpResponse:
    """Of what was invalid_form nothing is left to ask about; it is said all the same."""
    errors = [str(one) for texts in invalid_form.errors.values() for one in texts] if invalid_form else []
    for text in errors or [verb.nothing_to_do]:
        messages.warning(request, text)
    return HttpResponseRedirect(reverse(LIST_URL))


def _success_url(verb: Verb, plan: Plan) -> str:
    """Where it can be seen: the workspace's page, as long as it lives."""
    gone = verb.destructive and verb.includes_root
    return reverse(LIST_URL) if gone or len(plan.teams) > 1 else _change_url(plan.teams[0].root)


def _can_forward(verb: Verb, plan: Plan) -> bool:
    return verb.can_forward and len(plan.teams) == 1


def _root_ids(plan: Plan) -> list[UUID]:
    return [team.root.id for team in plan.teams]


def _change_url(workspace: Workspace) -> str:
    return reverse("admin:registry_workspace_change", args=[workspace.id])


def _count_label(count: int) -> str:
    return f"{count} workspace{'' if count == 1 else 's'}"


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts if text))
    except ValueError:
        raise Http404 from None
