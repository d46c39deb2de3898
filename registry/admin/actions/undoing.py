"""The button "Undo" in the message about a change, and what it does."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from activity.models import StructureEvent
from registry.admin.bases import actor_of, busy_is_refused, why
from registry.exceptions import RegistryError
from registry.models import Workspace
from registry.organisation import undo

EVENTS = "events"
"""The field with the ids of the events, between spaces."""


def say(request: Any, done: str, workspace_ids: Collection[UUID], position: int) -> None:
    """Say what was done to these workspaces, with a button that undoes what the user changed after the position."""
    found = undo.undoable_since(workspace_ids, position, actor=actor_of(request))
    messages.success(request, done, extra_tags=" ".join(str(one) for one in found))


def page(model_admin: "ModelAdmin[Workspace]", request: Any) -> HttpResponse:
    """Undo the events that the button names, workspace by workspace, and say so. POST only.

    A workspace that somebody changed meanwhile stays as it is, which the message says.
    """
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    named = _by_workspace(request.POST.get(EVENTS, "").split())
    workspaces = Workspace.objects.defer("agent_card").in_bulk(list(named))
    for workspace_id, event_ids in named.items():
        _undo_one(model_admin, request, workspaces[workspace_id], event_ids)
    if len(named) > 1:
        return HttpResponseRedirect(reverse("admin:registry_workspace_changelist"))
    return HttpResponseRedirect(reverse("admin:registry_workspace_change", args=list(named)))


def _undo_one(model_admin: "ModelAdmin[Workspace]", request: Any, workspace: Workspace, event_ids: list[UUID]) -> None:
    try:
        with busy_is_refused():
            undo.undo(workspace.id, event_ids, actor=actor_of(request))
    except RegistryError as error:
        messages.error(request, f"{workspace}: not undone, because {why(error)}.")
    else:
        model_admin.log_change(request, workspace, "Undid a change.")
        messages.success(request, f"{workspace} is as before.")


def _by_workspace(texts: list[str]) -> dict[UUID, list[UUID]]:
    """Raises Http404 for what is no event of a workspace."""
    try:
        ids = {UUID(text) for text in texts}
    except ValueError:
        raise Http404 from None
    found: defaultdict[UUID, list[UUID]] = defaultdict(list)
    events = StructureEvent.objects.filter(id__in=ids).order_by("seq")
    for event_id, workspace_id in events.values_list("id", "workspace_id"):
        if workspace_id is not None:
            found[workspace_id].append(event_id)
    if not ids or sum(map(len, found.values())) < len(ids):
        raise Http404
    return found
