"""A server for all attacks of a file. Limits per address are high: many addresses can attack at once."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Platform, running_platform

LEASE_SECONDS = 6.0


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running_platform(LEASE_SECONDS=str(LEASE_SECONDS)) as running:
        yield running
