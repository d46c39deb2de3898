"""The state of a workspace as a badge, and whether its enrolment has expired."""

from django.contrib import admin
from django.utils.safestring import SafeString

from activity import clock
from registry.admin import formats
from registry.models import Status, Workspace
from registry.structure.states import ENROLMENT_EXPIRED, state_label

EXPIRED = "enrolment-expired"
"""How stateOf() in ui/workspaces.js calls a provisioning workspace whose agent can no longer register."""


@admin.display(description="status")
def state(workspace: Workspace) -> SafeString:
    """The state label as a badge."""
    return _badge(workspace.status, _label(workspace))


def badges() -> list[tuple[str, SafeString]]:
    """The badge of every state, for pages that show it without asking the server (ui/live_values.js)."""
    now = clock.now()
    found = [(str(status), _badge(status, state_label(status, None, now))) for status in Status]
    return [*found, (EXPIRED, _badge(Status.PROVISIONING, ENROLMENT_EXPIRED))]


def has_expired(workspace: Workspace) -> bool:
    """Whether an agent can register only with a new enrolment token."""
    return _label(workspace) == ENROLMENT_EXPIRED


def _badge(status: str, label: str) -> SafeString:
    return formats.badge(Status.DEGRADED if label == ENROLMENT_EXPIRED else status, label)


def _label(workspace: Workspace) -> str:
    return state_label(workspace.status, workspace.enrolment_expires_at, clock.now())
