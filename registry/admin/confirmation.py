"""The confirmation page of a verb: lists every workspace it would affect, then offers the button."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from registry.admin.bases import actor_of, add_operation_error
from registry.admin.forms import ConfirmationForm
from registry.admin.plans import Plan, Team
from registry.admin.verbs import Verb
from registry.exceptions import Conflict, RegistryError
from registry.models import Workspace
from registry.structure import hierarchy

LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/confirm.html"
CHANGED = "The teams have changed since this page was shown. Check the new list and confirm again."
Admin: TypeAlias = "ModelAdmin[Workspace]"


def action(verb: Verb) -> Callable[[Admin, Any, QuerySet[Workspace]], HttpResponse]:
    """Returns the verb as an action of the workspace list; it always asks for confirmation."""

    @admin.action(description=f"{verb.title}…", permissions=["change"])
    def act(model_admin: Admin, request: Any, queryset: QuerySet[Workspace]) -> HttpResponse:
        return confirm(verb, model_admin, request, list(queryset.values_list("id", flat=True)))

    act.__name__ = verb.name
    return act


def page(verb: Verb, model_admin: Admin, request: Any) -> HttpResponse:
    """GET asks, POST acts on what the page listed.

    A POST without a listing acts at once where it affects only the chosen workspace and can be undone.
    """
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return confirm(verb, model_admin, request, _ids(request.GET.getlist("id")))
    plan = verb.plan(_ids(request.POST.get("chosen", "").split(",")))
    seen = request.POST.get("seen")
    if not plan.size or (seen is None and (verb.destructive or not plan.affects_only_chosen)):
        return confirm(verb, model_admin, request, plan.chosen)
    form = ConfirmationForm(request.POST, can_forward=_can_forward(verb, plan))
    if form.is_valid() and seen not in (None, plan.fingerprint):
        form.add_error(None, CHANGED)
    if form.is_valid() and _execute(verb, model_admin, request, plan, form):
        return HttpResponseRedirect(_success_url(verb, plan))
    return confirm(verb, model_admin, request, plan.chosen, invalid_form=form)


def confirm(
    verb: Verb,
    model_admin: Admin,
    request: Any,
    workspace_ids: Sequence[UUID],
    invalid_form: ConfirmationForm | None = None,
) -> HttpResponse:
    """Returns the confirmation page, or a redirect with a message when the verb applies to none of them."""
    plan = verb.plan(workspace_ids)
    if not plan.size:
        return _nothing_to_do(verb, request, invalid_form)
    initial = {"chosen": ",".join(str(one) for one in plan.chosen), "seen": plan.fingerprint}
    form = ConfirmationForm(initial=initial, can_forward=_can_forward(verb, plan))
    one = plan.teams[0].root if len(plan.teams) == 1 else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.title}: {one or _count_label(len(plan.teams))}",
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
    """Runs one transaction for each team, because locks are taken in one order only within an operation.

    A refused team does not stop the others; the form then shows an error for each refused team.
    """
    forward_to = form.cleaned_data.get("forward_to")
    affected, actor = 0, actor_of(request)
    for team in plan.teams:
        try:
            with transaction.atomic():
                _require_unchanged(verb, team)
                count = verb.operation(team.root.id, actor, forward_to.id if forward_to else None)
        except RegistryError as error:
            if len(plan.teams) == 1:
                add_operation_error(form, error)
            else:
                form.add_error(None, f"{team.root}: {error.message}")
            continue
        affected += count
        model_admin.log_change(request, team.root, f"{verb.title}: {_count_label(count)}.")
    if affected:
        messages.success(request, f"{verb.past_tense} {_count_label(affected)}.")
    return form.is_valid()


def _require_unchanged(verb: Verb, team: Team) -> None:
    """Raises Conflict if the verb would affect other workspaces than were shown. Locks the hierarchy."""
    hierarchy.lock()
    now = verb.plan([team.root.id]).teams
    if now and now[0].fingerprint != team.fingerprint:
        raise Conflict(CHANGED)


def _nothing_to_do(verb: Verb, request: Any, invalid_form: ConfirmationForm | None) -> HttpResponse:
    """Shows the errors of a form whose workspaces are gone by now, otherwise why there is nothing to do."""
    errors = [str(one) for texts in invalid_form.errors.values() for one in texts] if invalid_form else []
    for text in errors or [verb.nothing_to_do]:
        messages.warning(request, text)
    return HttpResponseRedirect(reverse(LIST_URL))


def _success_url(verb: Verb, plan: Plan) -> str:
    """Returns the page of a single workspace that still exists, otherwise the list."""
    removed = verb.destructive and verb.includes_root
    return reverse(LIST_URL) if removed or len(plan.teams) > 1 else _change_url(plan.teams[0].root)


def _can_forward(verb: Verb, plan: Plan) -> bool:
    return verb.can_forward and len(plan.teams) == 1


def _change_url(workspace: Workspace) -> str:
    return reverse("admin:registry_workspace_change", args=[workspace.id])


def _count_label(count: int) -> str:
    return f"{count} workspace{'' if count == 1 else 's'}"


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts if text))
    except ValueError:
        raise Http404 from None
