"""What agents report of their work: activity entries and messages to the people at the canvas."""

from collections.abc import Sequence
from uuid import UUID

from activity import bus, log
from activity.log import Entry
from activity.models import ActivityLog, ActivityType
from registry.masking import mask
from registry.rows import find


def report(workspace_id: UUID, entries: Sequence[Entry]) -> list[ActivityLog]:
    """Raises NotFound, Forwarded, Removed."""
    find(workspace_id)
    return log.write(workspace_id, mask(workspace_id, list(entries)))


def notify(workspace_id: UUID, message: str) -> None:
    """Say something to the operators; kept as activity, so that a chat survives a reload.

    Raises NotFound, Forwarded, Removed.
    """
    workspace = find(workspace_id)
    said = Entry(activity_type=ActivityType.A2A_RECEIVE, method="notify", response_body={"result": message})
    (masked,) = mask(workspace_id, [said])
    log.write(workspace_id, [masked])
    payload = {"message": masked.response_body["result"], "workspace_id": workspace_id, "name": workspace.name}
    bus.after_commit(bus.publish, [bus.envelope("AGENT_MESSAGE", workspace_id, payload)])
