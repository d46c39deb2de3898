"""The page that imports a bundle: choose a file, see what it would create and all its problems, then create it.

The second step posts the text of the file again, so that nothing is kept on the server meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.template.response import TemplateResponse

from registry.admin.bases import actor_of
from registry.admin.sources.previews import Preview, preview
from registry.admin.widgets import labels, select_workspace
from registry.admin.workspace import copies
from registry.config import bundles
from registry.exceptions import RegistryError, TooLarge
from registry.models import Workspace

TEMPLATE = "admin/registry/workspace/import.html"


class TeamForm(forms.Form):
    """The team to import into."""

    parent = forms.ModelChoiceField(
        Workspace.objects.active(), required=False, label="In the team of", help_text="Leave empty for the top level."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        select_workspace(self.fields["parent"])


class BundleForm(TeamForm):
    """A file to check."""

    field_order = ("file", "parent")
    file = forms.FileField(
        label="Bundle",
        allow_empty_file=True,
        error_messages={"required": "Choose a file."},
        widget=forms.FileInput({"accept": ".json,application/json"}),
        help_text="A file that ends in .bundle.json, of at most 32 MB.",
    )


class CheckedForm(TeamForm):
    """The text of a file that was checked."""

    file = forms.CharField(strip=False)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A bundle with what it would create."""

    text: str
    parent: Workspace | None
    shown: Preview

    @property
    def where(self) -> str:
        """Where it would be created."""
        return f"In the team of {labels([self.parent.id])[self.parent.id]}" if self.parent else "At the top level"


def page(model_admin: "ModelAdmin[Workspace]", request: Any) -> HttpResponse:
    """GET asks for the file, POST shows what it would create, and with `checked` creates it."""
    if not model_admin.has_change_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        return _answer(model_admin, request, request.GET.get("parent"))
    is_checked = "checked" in request.POST
    form: TeamForm = CheckedForm(request.POST) if is_checked else BundleForm(request.POST, request.FILES)
    if not form.is_valid():
        errors = [str(text) for texts in form.errors.values() for text in texts]
        return _answer(model_admin, request, request.POST.get("parent"), errors=errors, status=HTTPStatus.BAD_REQUEST)
    parent: Workspace | None = form.cleaned_data["parent"]
    parent_id: UUID | None = parent.id if parent else None
    try:
        content = _content(form.cleaned_data["file"])
        bundle = bundles.parse(content)
        root, problems = bundles.plan(bundle, parent_id=parent_id)
        if is_checked and not problems:
            created = bundles.import_bundle(bundle, parent_id=parent_id, actor=actor_of(request))
            return copies.arrive(model_admin, request, created, "Imported")
    except RegistryError as error:
        is_large = isinstance(error, TooLarge)
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_large else HTTPStatus.BAD_REQUEST
        return _answer(model_admin, request, parent_id, errors=[error.message], status=status)
    checked = Checked(text=content.decode(), parent=parent, shown=preview([root], problems))
    status = HTTPStatus.BAD_REQUEST if is_checked else HTTPStatus.OK
    return _answer(model_admin, request, parent_id, checked=checked, status=status)


def _content(file: Any) -> bytes:
    """What was uploaded or posted. Raises TooLarge before it is read."""
    if isinstance(file, str):
        return file.encode()
    if file.size > bundles.MAX_BYTES:
        raise TooLarge(bundles.too_large(file.size))
    return bytes(file.read())


def _answer(
    model_admin: "ModelAdmin[Workspace]",
    request: Any,
    parent: Any,
    *,
    checked: Checked | None = None,
    errors: Sequence[str] = (),
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    form = BundleForm(initial={"parent": parent})
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Import a bundle",
        "opts": model_admin.opts,
        "media": model_admin.media + form.media,
        "form": form,
        "checked": checked,
        "errors": errors,
    }
    return TemplateResponse(request, TEMPLATE, context, status=status)
