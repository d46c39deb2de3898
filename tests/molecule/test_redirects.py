"""The redirect to HTTPS, and the warning when a request is redirected to where it came from."""

import logging
from typing import Any

import pytest
from django.test import Client

from molecule import redirects


@pytest.fixture(autouse=True)
def _production(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("sent", ["https", "https, http", "HTTPS"])
def test_a_redirect_to_itself_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    client = Client(headers={"X-Forwarded-Proto": sent})
    for _ in range(3):
        answer = client.get("/workspaces")
        assert (answer.status_code, answer["Location"]) == (301, "https://testserver/workspaces")
    assert warnings_of(caplog) == [redirects.REDIRECTED_TO_ITSELF]
    assert "PROXY_SCHEME=true" in caplog.text
    monkeypatch.setattr(redirects, "WARN_AGAIN_SECONDS", 0.0)
    client.get("/workspaces")
    assert len(warnings_of(caplog)) == 2


def test_so_is_a_proxy_that_does_not_say_what_the_scheme_was(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.PROXY_SCHEME, settings.SECURE_PROXY_SSL_HEADER = True, ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client(headers={"X-Forwarded-Proto": "http"}).get("/workspaces").status_code == 301
    assert warnings_of(caplog) == []
    assert Client().get("/workspaces").status_code == 301
    assert warnings_of(caplog) == [redirects.WITHOUT_SCHEME]


@pytest.mark.parametrize("sent", [{}, {"X-Forwarded-Proto": "http"}])
def test_other_redirects_are_not_logged(caplog: pytest.LogCaptureFixture, sent: dict[str, str]) -> None:
    assert Client(headers=sent).get("/workspaces").status_code == 301
    assert warnings_of(caplog) == []


@pytest.mark.django_db
def test_with_proxy_scheme_there_is_no_redirect(caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.PROXY_SCHEME, settings.SECURE_PROXY_SSL_HEADER = True, ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_REDIRECT_EXEMPT = []
    assert Client(headers={"X-Forwarded-Proto": "https"}).get("/health").status_code == 200
    assert redirects.REDIRECTED_TO_ITSELF not in caplog.text
