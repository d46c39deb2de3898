"""The number of queries of an admin page does not depend on the number of rows."""

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity import log
from activity.log import Entry
from molecule import platform_status
from registry.admin.workspace import dialogs, tabs
from registry.identity import tokens
from registry.models import Workspace
from registry.organisation import agents, verbs, workspaces
from registry.organisation.attention import recent_counts
from registry.secrets import store
from registry.supervision import jobs
from tests.registry.admin.pages import Make, confirmation_url, executed_sql, url_of

FEW, MANY = 3, 30
MOST = 10
MOST_OF = {
    "index": 22,
    "system": 17,
    "change": 10,
    "activity": 9,
    "events": 8,
    "secrets": 9,
    "access": 7,
    "team": 8,
    "agent": 7,
    "settings": 9,
}
"""Pages with more queries, and each tab of a workspace. The overview reads the state of the platform, eleven of them,
once in five seconds. Of a superuser, and without those of statements.execute()."""
LISTS = sorted(model._meta.label_lower.replace(".", "_") for model in admin.site._registry)


def grow(lead: Workspace, make: Make, count: int) -> None:
    for number in range(count):
        child = make(f"Child {number}", parent_id=lead.id, model="m")
        for workspace in (lead, child):
            tokens.issue_workspace_token(workspace.id)
            store.set_for_workspace(workspace.id, f"K_{child.id.hex}", "x", actor="test")
            log.write(workspace.id, [Entry(activity_type="agent_log", source_id=child.id)])
        store.set_for_all(f"K_{child.id.hex}", "x", actor="test")
        user = User.objects.create_user(child.id.hex)
        user.groups.add(Group.objects.create(name=child.id.hex))
        tokens.issue_operator_token(user)
        jobs.tick(child.id.hex)
        agents.assign(lead.id, f"m{number}", actor="operator:ada")
        agents.remove(lead.id, reason="so", actor="operator:ada")
        workspaces.update(child.id, {"parent_id": None}, actor="operator:ada")
        workspaces.update(child.id, {"parent_id": lead.id}, actor="operator:ada")
    refused = {"refused_at": timezone.now(), "refused_count": 1, "refused_reason": "no token"}
    Workspace.objects.update(agent_card={"skills": [{}]}, **refused)


def pages(lead: Workspace) -> dict[str, str]:
    """Returns the URLs of one workspace's pages and of all lists."""
    found = {name: reverse(f"admin:{name}_changelist") for name in LISTS}
    found |= {verb.name: confirmation_url(verb.name, lead) for verb in verbs.VERBS if verb.applies(lead)}
    found |= {one.name: url_of(one.name, lead) for one in dialogs.DIALOGS}
    found |= {name: url_of(name, lead) for name in ("expand", "connect")}
    found |= {tab.name: url_of(tab.name, lead) for tab in tabs.TABS}
    return found | {
        "add": reverse("admin:registry_workspace_add"),
        "index": "/admin/",
        "system": "/admin/system/",
    }


def test_queries_do_not_grow_with_rows(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    grow(lead, make_workspace, FEW)
    few = counts(root, lead)
    grow(lead, make_workspace, MANY - FEW)
    many = counts(root, lead)
    assert {name: count for name, count in many.items() if count > few[name]} == {}
    assert {name: count for name, count in many.items() if count > MOST_OF.get(name, MOST)} == {}


def counts(root: Client, lead: Workspace) -> dict[str, int]:
    """The queries of each page by itself, without what others have left in the process."""
    found = {}
    for name, url in pages(lead).items():
        recent_counts.forget()
        platform_status.recent.forget()
        found[name] = len(executed_sql(root, url))
    return found
