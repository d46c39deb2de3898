"""The state of a workspace as the admin shows it."""

from datetime import datetime

from registry.models import Status

AWAITING_AGENT = "Awaiting agent"
ENROLMENT_EXPIRED = "Enrolment expired"


def state_label(status: str, enrolment_expires_at: datetime | None, now: datetime) -> str:
    """Return the label of the status.

    A provisioning workspace is "Awaiting agent", and "Enrolment expired" once its enrolment token has ended unused.
    """
    if status != Status.PROVISIONING:
        return str(Status(status).label)
    if enrolment_expires_at is not None and enrolment_expires_at <= now:
        return ENROLMENT_EXPIRED
    return AWAITING_AGENT
