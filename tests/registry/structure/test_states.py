"""The state label of a workspace, with the two states of one that is provisioning."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.models import Status
from registry.structure.states import state_label

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOON, PAST = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "expires_at", "label"),
    [
        ("provisioning", None, "Awaiting agent"),
        ("provisioning", SOON, "Awaiting agent"),
        ("provisioning", NOW, "Enrolment expired"),
        ("provisioning", PAST, "Enrolment expired"),
        ("online", SOON, "Online"),
        ("offline", PAST, "Offline"),
        ("failed", PAST, "Failed"),
        ("removed", None, "Removed"),
    ],
)
def test_label(status: str, expires_at: datetime | None, label: str) -> None:
    assert state_label(status, expires_at, NOW) == label


def test_every_status_has_a_label() -> None:
    assert all(state_label(status, None, NOW) for status in Status)
