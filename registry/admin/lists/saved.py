"""Saved filters: everybody who may view a list saves filters of it, and may share them with the others who may."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern

from registry.admin.lists import routes
from registry.admin.lists.bar import BoundBar, Link, encode
from registry.admin.lists.lookups import BAD_PARAMETER_ERRORS, is_searchable
from registry.models import SavedFilter

TEMPLATE = "admin/lists/saved.html"
MOST = 50
"""Of one user in one list. Twice as many are offered, with those that others share."""
TAKEN = "You have a filter with this name already."
TOO_MANY = f"You have {MOST} filters of this list already. Delete one first."
NOTHING = "Choose filters first, then save them."
NOT_OFFERED = "This list does not offer these filters."
CHANGE_SHARED = "registry.change_workspace"
"""The permission to show something to everybody."""


class Refused(Exception):
    """The filter is not stored; the message says why."""


class SaveForm(forms.Form):
    """`query`: the parameters. Those who may not share save for themselves only."""

    name = forms.CharField(max_length=60)
    query = forms.CharField(max_length=4000, widget=forms.HiddenInput)
    shared = forms.BooleanField(required=False)


def urls(model_admin: Any) -> list[URLPattern]:
    """The page of the user's filters of a list, and the changes of one."""
    return [
        routes.at(model_admin, "saved/", "saved", _page),
        routes.at(model_admin, "saved/<uuid:filter_id>/", "saved_one", _change),
    ]


def links(model_admin: Any, bar: BoundBar) -> list[Link]:
    """The filters that the user may choose from: their own, and those that others share."""
    user = bar.request.user
    return [
        bar.link(
            one.name if one.owner_id == user.pk else f"{one.name} ({one.owner.get_username()})", _values(one.query)
        )
        for one in _visible(model_admin, user)
    ]


def page_url(model_admin: Any) -> str:
    """Where filters are saved and managed."""
    return routes.url(model_admin, "saved")


def may_share(user: Any) -> bool:
    """Whether the user may show filters to everybody."""
    return bool(user.has_perm(CHANGE_SHARED))


def _page(model_admin: Any, request: Any) -> HttpResponse:
    """GET shows the user's own filters; POST saves one."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        return _save(model_admin, request)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Saved filters",
        "opts": model_admin.opts,
        "own": [
            (
                one,
                f"{routes.url(model_admin)}?{one.query}",
                routes.url(model_admin, "saved_one", one.pk),
            )
            for one in _own(model_admin, request.user)
        ],
        "may_share": may_share(request.user),
        "back": routes.url(model_admin),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _save(model_admin: Any, request: Any) -> HttpResponse:
    try:
        form = _valid(request.POST.dict())
        query = _checked(model_admin, request, form["query"])
        if _own(model_admin, request.user).count() >= MOST:
            raise Refused(TOO_MANY)
        new = SavedFilter(owner=request.user, list=routes.name(model_admin), query=query)
        _store(new, form, request.user)
    except Refused as error:
        messages.warning(request, f"Not saved. {error}")
        return HttpResponseRedirect(routes.url(model_admin))
    messages.success(request, f"Saved the filter “{new.name}”.")
    return HttpResponseRedirect(f"{routes.url(model_admin)}?{query}")


def _change(model_admin: Any, request: Any, filter_id: UUID) -> HttpResponse:
    """Renames, shares or deletes one of the user's own filters."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    one = get_object_or_404(_own(model_admin, request.user), pk=filter_id)
    if "delete" in request.POST:
        one.delete()
        messages.success(request, f"Deleted the filter “{one.name}”.")
        return HttpResponseRedirect(page_url(model_admin))
    try:
        _store(one, _valid({**request.POST.dict(), "query": one.query}), request.user)
        messages.success(request, f"Changed the filter “{one.name}”.")
    except Refused as error:
        messages.warning(request, f"Not changed. {error}")
    return HttpResponseRedirect(page_url(model_admin))


def _valid(posted: dict[str, str]) -> dict[str, Any]:
    """The form's values. Raises Refused."""
    form = SaveForm(posted)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        raise Refused(NOTHING if field == "query" else f"{field.capitalize()}: {errors[0]}")
    return form.cleaned_data


def _store(one: SavedFilter, form: dict[str, Any], user: Any) -> None:
    """Stores the name, and whether it is shared. Raises Refused."""
    one.name, one.shared = form["name"], form["shared"] and may_share(user)
    try:
        with transaction.atomic():
            one.save()
    except IntegrityError:
        raise Refused(TAKEN) from None


def _checked(model_admin: Any, request: Any, query: str) -> str:
    """The filters in the query, in a fixed order. Raises Refused for none, and for what the list does not offer."""
    given, bar = _values(query), model_admin.filter_bar
    if not set(given) <= set(bar.filters) or not all(is_searchable(text) for text in given.get(SEARCH_VAR, ())):
        raise Refused(NOT_OFFERED)
    try:
        bar.selected(model_admin.get_queryset(request), given)
    except BAD_PARAMETER_ERRORS:
        raise Refused(NOT_OFFERED) from None
    if not (found := encode(bar.canonical(given))):
        raise Refused(NOTHING)
    return found


def _values(query: str) -> dict[str, list[str]]:
    return {name: [str(value) for value in values] for name, values in QueryDict(query).lists()}


def _own(model_admin: Any, user: Any) -> QuerySet[SavedFilter]:
    return SavedFilter.objects.filter(owner=user, list=routes.name(model_admin))


def _visible(model_admin: Any, user: Any) -> QuerySet[SavedFilter]:
    """The user's own, then those that others share."""
    found = SavedFilter.objects.filter(Q(owner=user) | Q(shared=True), list=routes.name(model_admin))
    others_last = Case(When(owner=user, then=Value(0)), default=Value(1))
    return found.select_related("owner").order_by(others_last, "name", "created_at", "id")[: 2 * MOST]
