"""Every page of the admin, with something on it. Run in Django (`manage.py shell`); prints their addresses as JSON.

They come from the admin's routes, so a new page is visited without being named here, or has to be named as none.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, reverse

from activity import log
from activity.log import Entry
from activity.models import ActivityLog
from registry.config import templates
from registry.config.contents import Content
from registry.identity import tokens
from registry.models import SavedFilter, Workspace
from registry.organisation import agents, removal, verbs, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.secrets import store

LONG = "Reconciles invoices of suppliers in four countries with the bank's statements, and asks when they differ"
# Scripts and JSON, and what only redirects.
NO_PAGES = {"jsi18n", "autocomplete", "view_on_site", "logout", "login"}
ROW = {"object_id", "id"}
ACTOR = "operator:op"
IMPORTED = "imported"
"""The id of a template."""


def furnish() -> Workspace:
    """An organisation with rows in every list, and texts that are long."""
    lead = _create("Finance lead", role=LONG)
    for name in ("Payments", "catalyst-devforge-product-documentation-writer-of-the-second-team", "Billing"):
        member = _create(name, parent_id=lead.id, role=LONG)
        tokens.issue_workspace_token(member.id)
        store.set_for_workspace(member.id, "OPENAI_API_KEY", "x", actor=ACTOR)
        agents.assign(member.id, "gpt-4.1-mini", actor=ACTOR)
    agents.assign(lead.id, "claude", actor=ACTOR)
    store.set_for_workspace(lead.id, "STRIPE_KEY", "x", actor=ACTOR)
    store.set_for_all("PROXY_URL", "x", actor=ACTOR)
    call: dict[str, Any] = {"activity_type": "a2a_receive", "method": "message/send", "summary": LONG}
    log.write(lead.id, [Entry(**call, request_body={"deep": [1, {"text": LONG}]}, error_detail=LONG, status="error")])
    workspaces.update(lead.id, {"tier": 2}, actor=ACTOR)
    templates.import_files(
        IMPORTED, {**templates.read("product-lead"), f"context/{LONG}.md": Content(b"x")}, actor=ACTOR
    )
    removal.remove(_create("Removed").id, actor=ACTOR, confirm=False)
    operator = User.objects.get(username="op")
    tokens.issue_operator_token(operator)
    for model in admin.site._registry:
        name = model._meta.label_lower.replace(".", "_")
        SavedFilter.objects.create(owner=operator, list=name, name=LONG, query="q=x", shared=True)
    operator.groups.add(Group.objects.earliest("pk"))
    return lead


def _create(name: str, **fields: Any) -> Workspace:
    return workspaces.create(NewWorkspace(name=name, **fields), actor=ACTOR)


def addresses(lead: Workspace) -> dict[str, str]:
    """The address of every named route of the admin, by its name; by its pattern, where several have the same name."""
    found: dict[str, str] = {}
    for name, pattern in _routes():
        url = reverse(f"admin:{name}", kwargs=_arguments(name, pattern, lead))
        found[str(pattern.pattern) if name in found else name] = url
    for verb in verbs.VERBS:
        found[f"registry_workspace_{verb.name}"] += f"?id={lead.id}"
    return found


def _routes() -> Iterator[tuple[str, URLPattern]]:
    def walk(patterns: Any) -> Iterator[URLPattern]:
        for pattern in patterns:
            if isinstance(pattern, URLPattern):
                yield pattern
            else:
                yield from walk(pattern.url_patterns)

    return ((str(one.name), one) for one in walk(admin.site.urls[0]) if one.name and one.name not in NO_PAGES)


def _arguments(name: str, pattern: URLPattern, lead: Workspace) -> dict[str, Any]:
    """A value for each part of the address."""
    entry = ActivityLog.objects.filter(workspace_id=lead.id).first()
    known = {
        "app_label": "registry",
        "workspace_id": lead.id,
        "entry_id": entry and entry.id,
        "filter_id": uuid4(),
        "template_id": IMPORTED,
        "folder": "company",
    }
    wanted = pattern.pattern.regex.groupindex
    unknown = set(wanted) - set(known) - ROW
    assert not unknown, f"{name}: say in tests/e2e/admin_pages.py what {unknown} are"
    return {part: known[part] if part in known else _row(name, lead).pk for part in wanted}


def _row(name: str, lead: Workspace) -> Any:
    app, model, _rest = name.split("_", 2)
    row = lead if model == "workspace" else apps.get_model(app, model)._default_manager.first()
    assert row is not None, f"{name}: there is no row to show"
    return row


def main() -> None:
    json.dump(addresses(furnish()), sys.stdout)
