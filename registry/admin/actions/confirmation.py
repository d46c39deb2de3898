"""The confirmation page of a verb: lists every workspace it would affect, then offers the button."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from activity.events import latest_seq
from registry.admin import formats, live
from registry.admin.actions import undoing
from registry.admin.actions.plans import Plan, Team, plan_for
from registry.admin.actions.urls import verb_url
from registry.admin.bases import actor_of, add_operation_error, busy_is_refused, why
from registry.admin.forms import ConfirmationForm
from registry.admin.lists.lookups import MOST_CHOSEN
from registry.exceptions import Conflict, RegistryError
from registry.models import Workspace
from registry.organisation.verbs import VERBS, Verb
from registry.structure import hierarchy

OUTCOMES_TEMPLATE = "admin/registry/workspace/outcomes.html"
TOO_MANY = f"At most {MOST_CHOSEN:,} workspaces can be changed at once. Choose fewer, with filters."
LIST_URL = "admin:registry_workspace_changelist"
TEMPLATE = "admin/registry/workspace/confirm.html"
CHANGED = "The teams have changed since this page was shown. Check the new list and confirm again."
Admin: TypeAlias = "ModelAdmin[Workspace]"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to a team: how many workspaces were changed, or why none was."""

    team: Team
    count: int = 0
    error: RegistryError | None = None

    @property
    def in_team(self) -> int:
        """How many were changed besides the chosen one."""
        return self.count - 1

    @property
    def why(self) -> str:
        """ "" where it was changed."""
        return "" if self.error is None else why(self.error)


def action(verb: Verb) -> Callable[[Admin, Any, QuerySet[Workspace]], HttpResponse | None]:
    """Returns the verb as an action of the workspace list; it always asks for confirmation."""

    @admin.action(description=f"{verb.menu or verb.title}…", permissions=["change"])
    def act(model_admin: Admin, request: Any, queryset: QuerySet[Workspace]) -> HttpResponse | None:
        ids = list(queryset.values_list("id", flat=True)[: MOST_CHOSEN + 1])
        if len(ids) > MOST_CHOSEN:
            messages.warning(request, TOO_MANY)
            return None
        return confirm(verb, model_admin, request, ids)

    act.__name__ = verb.name
    act.is_destructive = verb.destructive  # type: ignore[attr-defined]  # for the button
    return act


def page(verb: Verb, model_admin: Admin, request: Any) -> HttpResponse:
    """GET asks, POST acts on what the page listed; neither takes more than MOST_CHOSEN.

    A POST without a listing acts at once where it affects only the chosen workspace and can be undone.
    """
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    is_asked = request.method != "POST"
    chosen = _ids(request.GET.getlist("id") if is_asked else request.POST.get("chosen", "").split(","))
    if len(chosen) > MOST_CHOSEN:
        messages.warning(request, TOO_MANY)
        return HttpResponseRedirect(reverse(LIST_URL))
    if is_asked:
        return confirm(verb, model_admin, request, chosen)
    plan = plan_for(verb, chosen)
    seen = request.POST.get("seen")
    must_ask = verb.destructive or bool(verb.target) or not plan.affects_only_chosen
    if not plan.size or (seen is None and must_ask):
        return confirm(verb, model_admin, request, chosen)
    form = ConfirmationForm(request.POST, target=_target(verb, plan))
    if form.is_valid() and seen not in (None, plan.fingerprint):
        form.add_error(None, CHANGED)
    if not form.is_valid():
        return confirm(verb, model_admin, request, chosen, invalid_form=form)
    return _act(verb, model_admin, request, plan, form)


def confirm(
    verb: Verb,
    model_admin: Admin,
    request: Any,
    workspace_ids: Sequence[UUID],
    invalid_form: ConfirmationForm | None = None,
) -> HttpResponse:
    """Returns the confirmation page, or a redirect with a message when the verb applies to none of them."""
    plan = plan_for(verb, workspace_ids)
    if not plan.size:
        return _nothing_to_do(verb, request, invalid_form)
    initial = {"chosen": ",".join(str(one) for one in workspace_ids), "seen": plan.fingerprint}
    form = ConfirmationForm(initial=initial, target=_target(verb, plan))
    one = plan.teams[0].root if len(plan.teams) == 1 else None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.title}: {one or formats.counted(len(plan.chosen), 'workspace')}",
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "verb": verb,
        "action": verb_url(verb),
        "plan": plan,
        "form": form,
        "errors": invalid_form.errors if invalid_form else None,
        "back": _change_url(one) if one else reverse(LIST_URL),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _act(verb: Verb, model_admin: Admin, request: Any, plan: Plan, form: ConfirmationForm) -> HttpResponse:
    """Returns to one workspace, or shows what happened to each of several."""
    position = latest_seq()
    outcomes = _execute(verb, model_admin, request, plan, form.cleaned_data.get(verb.target) if verb.target else None)
    affected = sum(outcome.count for outcome in outcomes)
    if affected:
        changed = [outcome.team.root.id for outcome in outcomes if outcome.count] if verb.can_be_undone else []
        what = plan.teams[0].root if plan.affects_only_chosen else formats.counted(affected, "workspace")
        undoing.say(request, f"{verb.past_tense} {what}.", changed, position)
    if len(plan.teams) > 1 or plan.skipped:
        return _show_outcomes(verb, model_admin, request, outcomes, plan)
    (outcome,) = outcomes
    if outcome.error is not None:
        add_operation_error(form, outcome.error)
        return confirm(verb, model_admin, request, plan.chosen, invalid_form=form)
    return HttpResponseRedirect(_success_url(verb, plan))


def _execute(verb: Verb, model_admin: Admin, request: Any, plan: Plan, target: Workspace | None) -> list[Outcome]:
    """Runs one transaction for each team, because locks are taken in one order only within an operation.

    A refused team does not stop the others.
    """
    return [_execute_one(verb, model_admin, request, team, target) for team in plan.teams]


def _execute_one(verb: Verb, model_admin: Admin, request: Any, team: Team, target: Workspace | None) -> Outcome:
    try:
        with busy_is_refused(), transaction.atomic():
            _require_unchanged(verb, team)
            count = verb.operation(team.root.id, actor_of(request), target.id if target else None)
    except RegistryError as error:
        return Outcome(team=team, error=error)
    model_admin.log_change(request, team.root, f"{verb.title}: {formats.counted(count, 'workspace')}.")
    return Outcome(team=team, count=count)


def _show_outcomes(
    verb: Verb, model_admin: Admin, request: Any, outcomes: Sequence[Outcome], plan: Plan
) -> HttpResponse:
    """A reload sends the form again, whose list has changed by then, so it changes nothing."""
    refused = [outcome for outcome in outcomes if outcome.error is not None]
    done = [outcome for outcome in outcomes if outcome.error is None]
    opposite = next((other for other in VERBS if other.name == verb.opposite), None)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{verb.title}: {formats.counted(len(outcomes) + len(plan.skipped), 'workspace')} chosen",
        "opts": model_admin.opts,
        "verb": verb,
        "done": done,
        "refused": refused,
        "skipped": plan.skipped,
        "again": _page_of(verb, refused),
        "opposite": opposite,
        "back_again": _page_of(opposite, done),
    }
    return TemplateResponse(request, OUTCOMES_TEMPLATE, context)


def _page_of(verb: Verb | None, outcomes: Sequence[Outcome]) -> str:
    """The confirmation page of the verb for these workspaces; "" without a verb, and for none."""
    if verb is None or not outcomes:
        return ""
    return f"{verb_url(verb)}?{urlencode({'id': [outcome.team.root.id for outcome in outcomes]}, doseq=True)}"


def _require_unchanged(verb: Verb, team: Team) -> None:
    """Raises Conflict if the verb would affect other workspaces than were shown. Locks the hierarchy."""
    hierarchy.lock()
    now = plan_for(verb, [team.root.id]).teams
    if now and now[0].fingerprint != team.fingerprint:
        raise Conflict(CHANGED)


def _nothing_to_do(verb: Verb, request: Any, invalid_form: ConfirmationForm | None) -> HttpResponse:
    """Shows the errors of a form whose workspaces are gone by now, otherwise why there is nothing to do."""
    answer = HttpResponseRedirect(reverse(LIST_URL))
    if live.is_unseen(request):
        return answer
    errors = [str(one) for texts in invalid_form.errors.values() for one in texts] if invalid_form else []
    for text in errors or [verb.nothing_to_do]:
        messages.warning(request, text)
    return answer


def _success_url(verb: Verb, plan: Plan) -> str:
    """Returns the page of a single workspace that still exists, otherwise the list."""
    removed = verb.destructive and verb.includes_root
    return reverse(LIST_URL) if removed or len(plan.teams) > 1 else _change_url(plan.teams[0].root)


def _target(verb: Verb, plan: Plan) -> str:
    """The field for another workspace. Several removed workspaces are not forwarded to the same one."""
    return "" if verb.target == "forward_to" and len(plan.teams) > 1 else verb.target


def _change_url(workspace: Workspace) -> str:
    return reverse("admin:registry_workspace_change", args=[workspace.id])


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return list(dict.fromkeys(UUID(text) for text in texts if text))
    except ValueError:
        raise Http404 from None
