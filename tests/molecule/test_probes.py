"""Which requests are exempt from the host check; tests/e2e/test_probes.py asks over real sockets."""

from typing import Any

import pytest
from django.test import Client

POD = {"Host": "10.1.2.3:8000"}


@pytest.mark.django_db
def test_a_probe_may_name_any_host_but_not_in_open_mode(settings: Any) -> None:
    """There every site whose name points at this server (DNS rebinding) would be an operator."""
    assert Client().get("/metrics", headers=POD).status_code == 401
    settings.MOLECULE_OPEN = True
    assert Client().get("/metrics", headers=POD).status_code == 400
