"""The tab of a workspace's team: its members with their states, and the verbs that change the team."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from registry.admin import formats, states
from registry.admin.actions.urls import verb_url
from registry.admin.lists import columns
from registry.admin.workspace.visit import Visit
from registry.models import Workspace
from registry.organisation import verbs

PAGE_SIZE = 100


def context(visit: Visit) -> dict[str, Any]:
    """The members by name, PAGE_SIZE at a time, each with the size of its own team."""
    below = Workspace.objects.active().filter(parent_id=OuterRef("id")).order_by().values("parent_id")
    members = (
        Workspace.objects.active()
        .filter(parent_id=visit.workspace.id)
        .annotate(members=Coalesce(Subquery(below.annotate(n=Count("id")).values("n")), 0))
        .defer("agent_card")
        .order_by("name", "id")
    )
    page = Paginator(members, PAGE_SIZE).get_page(visit.request.GET.get("page"))
    return {
        "page": page,
        "members": [_row(member) for member in page],
        "collapse_url": f"{verb_url(verbs.COLLAPSE)}?id={visit.workspace.id}",
        "move_url": f"{verb_url(verbs.MOVE)}?id={visit.workspace.id}",
    }


def _row(member: Any) -> dict[str, Any]:
    return {
        "id": member.id,
        "link": formats.workspace_link(member.id, member.name),
        "role": formats.short(member.role) if member.role else "",
        "state": states.state(member),
        "task": columns.task(member) if member.current_task else "",
        "heartbeat": columns.heartbeat(member) if member.last_heartbeat_at else "",
        "members": member.members,
    }
