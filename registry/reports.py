"""What agents report of their work: activity entries and messages to the people at the canvas."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from activity import bus, log
from activity.log import Entry
from activity.models import ActivityLog, ActivityType
from registry.masking import mask
from registry.models import Workspace
from registry.rows import find, lock


def report(workspace_id: UUID, entries: Sequence[Entry]) -> list[ActivityLog]:
    """Raises NotFound, Forwarded, Removed."""
    with transaction.atomic():
        _hold(workspace_id)
        return log.write(workspace_id, mask(workspace_id, list(entries)))


def notify(workspace_id: UUID, message: str) -> None:
    """Say something to the operators; kept as activity, so that a chat survives a reload.

    Raises NotFound, Forwarded, Removed.
    """
    said = Entry(activity_type=ActivityType.A2A_RECEIVE, method="notify", response_body={"result": message})
    with transaction.atomic():
        workspace = _hold(workspace_id)
        (masked,) = mask(workspace_id, [said])
        log.write(workspace_id, [masked])
        payload = {"message": masked.response_body["result"], "workspace_id": workspace_id, "name": workspace.name}
        bus.after_commit(bus.publish, [bus.envelope("AGENT_MESSAGE", workspace_id, payload)])


def _hold(workspace_id: UUID) -> Workspace:
    """A removal waits until the report is in, or it is found here."""
    lock([workspace_id])
    return find(workspace_id)
