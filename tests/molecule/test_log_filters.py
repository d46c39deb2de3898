"""What the log says about refused requests."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
CANARY = "canary-4711"


@pytest.mark.parametrize("path", [CANARY, f"{CANARY}%5C", f"{CANARY}-%C3%A4"])
def test_the_log_names_routes_and_no_paths(
    as_operator: APIClient, client: Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    as_operator.put(f"/workspaces/{CANARY}/files/{path}", {"content": 1})
    client.get(f"/{path}/nothing")
    logged = [record.getMessage() for record in caplog.records if record.name == "django.request"]
    assert len(logged) == 2
    assert CANARY not in str(logged)
