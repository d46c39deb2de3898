"""The tab of a workspace's agent: which models are assigned and were, and what its Agent Card says."""

from typing import Any

from registry.admin import formats
from registry.admin.workspace import dialogs
from registry.admin.workspace.visit import Visit
from registry.models import Agent
from registry.organisation.agent_cards import read_card

MAX_AGENTS = 50


def context(visit: Visit) -> dict[str, Any]:
    """The last MAX_AGENTS assignments, the active one first."""
    workspace = visit.workspace
    history = list(Agent.objects.filter(workspace=workspace).order_by("status", "-created_at")[:MAX_AGENTS])
    available = dialogs.of_agent(workspace, has_agent=visit.model is not None) if visit.may_act else []
    return {
        "agents": history,
        "dialogs": available,
        "media": sum((one.form.media for one in available), start=visit.admin.media),
        "card": None if workspace.agent_card is None else read_card(workspace.agent_card),
        "json": formats.pretty(workspace.agent_card),
    }
