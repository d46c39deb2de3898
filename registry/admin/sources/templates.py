"""The pages of templates: the list, and what is in one: its files, and what would be created from it."""

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from registry.admin import formats
from registry.admin.bases import actor_of, why
from registry.admin.events.event_summaries import actor_label
from registry.admin.file_lists import by_folder
from registry.admin.sources.previews import preview
from registry.config import agent_config, blueprints, org_templates, templates
from registry.config.contents import Content, Files
from registry.config.templates import Listed
from registry.exceptions import RegistryError
from registry.models import AgentTemplate

VIEW, ACT = "registry.view_workspace", "registry.change_workspace"


def listing(request: Any) -> HttpResponse:
    """All templates."""
    _require(request, VIEW)
    agents = [{**one, "url": reverse("admin:template", args=[one["id"]])} for one in templates.listing()]
    organisations = [
        {**one, "url": reverse("admin:org_template", args=[one["dir"]])} for one in org_templates.listing()
    ]
    return _page(request, "templates", "Templates", agents=agents, organisations=organisations)


def template(request: Any, template_id: str) -> HttpResponse:
    """One template of an agent. POST deletes one that was imported. Raises Http404, PermissionDenied."""
    _require(request, VIEW)
    listed = next((one for one in templates.listing() if one["id"] == template_id), None)
    if listed is None:
        raise Http404
    if request.method == "POST":
        return _delete(request, listed)
    files: Files = {}
    shown, problem = None, listed.get("problem", "")
    try:
        files = templates.read(template_id)
        root = templates.blueprint(template_id)
        shown = preview([root], blueprints.problems([root]))
    except RegistryError as error:
        problem = error.message
    sizes = {path: len(one.data) for path, one in files.items()}
    path = request.GET.get("path") or agent_config.NAME
    imported = AgentTemplate.objects.filter(id=template_id).first() if listed["imported"] else None
    create = urlencode({"template": template_id, "name": listed["name"]})
    return _page(
        request,
        "template",
        listed["name"],
        template=listed,
        author=actor_label(imported.created_by, None, {}) if imported else "",
        imported_at=formats.relative(imported.created_at) if imported else "",
        problem=problem,
        shown=shown,
        folders=by_folder(sizes, path, lambda one: f"?{urlencode({'path': one})}"),
        size=filesizeformat(sum(sizes.values())),
        file=_file(path, files[path]) if path in files else None,
        create_url=f"{reverse('admin:registry_workspace_add')}?{create}",
    )


def organisation(request: Any, folder: str) -> HttpResponse:
    """An org template: what it would create; POST creates it. Raises Http404, PermissionDenied."""
    _require(request, VIEW)
    listed = next((one for one in org_templates.listing() if one["dir"] == folder), None)
    if listed is None:
        raise Http404
    shown, problem = None, ""
    try:
        wanted = org_templates.of_folder(folder)
        shown = preview(wanted.workspaces, wanted.problems, wanted.ignored)
        if request.method == "POST":
            _require(request, ACT)
            return _create(request, wanted)
    except RegistryError as error:
        problem = error.message
    status = HTTPStatus.BAD_REQUEST if request.method == "POST" else HTTPStatus.OK
    return _page(
        request, "organisation", listed["name"], status=status, organisation=listed, shown=shown, problem=problem
    )


def _create(request: Any, wanted: org_templates.Organisation) -> HttpResponse:
    created = org_templates.create(wanted, actor=actor_of(request))
    messages.success(
        request,
        f"Created {formats.counted(len(created), 'workspace')} of {wanted.name}. "
        "They have no secrets yet, and await their agents.",
    )
    return HttpResponseRedirect(f"{reverse('admin:registry_workspace_changelist')}?view=team")


def _delete(request: Any, listed: Listed) -> HttpResponse:
    _require(request, ACT)
    try:
        templates.delete(listed["id"], actor=actor_of(request))
    except RegistryError as error:
        messages.error(request, why(error))
    else:
        messages.success(request, f"Deleted the template {listed['name']}. What was made from it stays.")
    return HttpResponseRedirect(reverse("admin:templates"))


def _file(path: str, content: Content) -> dict[str, Any]:
    return {"path": path, "text": content.text, "size": filesizeformat(len(content.data))}


def _require(request: Any, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _page(request: Any, name: str, title: str, *, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> HttpResponse:
    own = {**admin.site.each_context(request), "title": title, "may_act": request.user.has_perm(ACT)}
    return TemplateResponse(request, f"admin/sources/{name}.html", own | context, status=status)
