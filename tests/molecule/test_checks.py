"""Unsafe or invalid configuration is reported, and errors prevent the web process from starting."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from molecule import checks
from molecule.checks import POSTGRESQL_MINIMUM, refuse_unsafe_configuration
from molecule.shares import MINIMUM_POOL_SIZE

DOCS = Path(__file__).resolve().parents[2] / "docs"


def reported_ids() -> list[str]:
    return [str(message.id) for message in run_checks(tags=["molecule"])]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({"MOLECULE_OPEN": True, "HOST": "127.0.0.1", "DEBUG": True}, []),
        ({"MOLECULE_OPEN": True, "HOST": "localhost", "DEBUG": True}, []),
        ({"MOLECULE_OPEN": True, "HOST": "0.0.0.0", "DEBUG": True}, ["molecule.E001"]),
        ({"MOLECULE_OPEN": True, "HOST": "127.0.0.1", "DEBUG": False}, ["molecule.E001"]),
        ({"MOLECULE_ENROLMENT": "perhaps"}, ["molecule.E002"]),
        ({"MOLECULE_ENROLMENT": "open", "HOST": "127.0.0.1", "DEBUG": True}, []),
        ({"MOLECULE_ENROLMENT": "open", "HOST": "10.0.0.1", "DEBUG": True}, ["molecule.W001"]),
        ({"SECRETS_ENCRYPTION_KEY": ""}, ["molecule.W002"]),
        ({"SECRETS_ENCRYPTION_KEY": "short"}, ["molecule.E003"]),
        ({"ACTIVITY_RETENTION_DAYS": 0.0, "ACTIVITY_CLEANUP_INTERVAL_HOURS": 0.01}, []),
        ({"ACTIVITY_RETENTION_DAYS": -1.0}, ["molecule.E004"]),
        ({"ACTIVITY_RETENTION_DAYS": float("nan")}, ["molecule.E004"]),
        ({"ACTIVITY_RETENTION_DAYS": 1e9}, ["molecule.E004"]),
        ({"TOKEN_RETENTION_DAYS": -1.0, "LOGIN_RETENTION_DAYS": 0.0}, ["molecule.E004"]),
        ({"ACTIVITY_CLEANUP_INTERVAL_HOURS": 0.0}, ["molecule.E005"]),
        ({"ACTIVITY_CLEANUP_INTERVAL_HOURS": float("inf")}, ["molecule.E005"]),
        ({"METRICS_TOKEN": "0123456789abcdef"}, []),
        ({"METRICS_TOKEN": "short"}, ["molecule.E006"]),
        ({"METRICS_TOKEN": "0123456789, abcdef"}, ["molecule.E006"]),
        ({"DATABASE_POOL_SIZE": MINIMUM_POOL_SIZE}, []),
        ({"DATABASE_POOL_SIZE": MINIMUM_POOL_SIZE - 1}, ["molecule.E008"]),
        ({"RATE_LIMIT_CHANGES": 0}, ["molecule.E009"]),
        ({"PROXY_SCHEME": True, "PROXY_ADDRESSES": 2}, []),
        ({"PROXY_ADDRESSES": -1}, ["molecule.E010"]),
        ({"SECURE_PROXY": True}, ["molecule.W004"]),
        ({"FORCE_SCRIPT_NAME": "/one/two"}, []),
        ({"FORCE_SCRIPT_NAME": "/a; b"}, ["molecule.E011"]),
        ({"RUNTIME_BACKEND": "process", "HOST": "127.0.0.1", "DEBUG": True}, []),
        ({"RUNTIME_BACKEND": "process", "HOST": "127.0.0.1", "DEBUG": False}, ["molecule.E013"]),
        ({"RUNTIME_BACKEND": "process", "HOST": "10.0.0.1", "DEBUG": True}, ["molecule.E013"]),
        ({"RUNTIME_BACKEND": "podman"}, ["molecule.E012"]),
        ({"RUNTIME_CONCURRENCY": 0}, ["molecule.E009"]),
        ({"WEB_LOCK_SECONDS": 0.0, "READY_SECONDS": float("nan")}, ["molecule.E009", "molecule.E009"]),
    ],
    ids=str,
)
def test_settings_are_reported_with_the_id_of_their_check(
    settings: Any, values: dict[str, Any], ids: list[str]
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert reported_ids() == ids


def test_an_error_prevents_the_start_and_a_warning_does_not(settings: Any) -> None:
    settings.SECRETS_ENCRYPTION_KEY = ""
    refuse_unsafe_configuration()
    settings.MOLECULE_OPEN, settings.HOST = True, "0.0.0.0"
    with pytest.raises(ImproperlyConfigured, match=r"molecule\.E001"):
        refuse_unsafe_configuration()


@pytest.mark.django_db
def test_check_and_migrate_fail_on_an_old_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check", databases=["default"])
    monkeypatch.setattr(checks, "POSTGRESQL_MINIMUM", 99)
    for command, arguments in (("check", {"databases": ["default"]}), ("migrate", {"skip_checks": False})):
        with pytest.raises(CommandError, match=r"(?s)molecule\.E007.*too old.*needs PostgreSQL 99 or newer"):
            call_command(command, **arguments)


@pytest.mark.parametrize("page", ["configuration.md", "architecture.md"])
def test_the_documents_state_the_minimum_postgresql_version(page: str) -> None:
    documented = re.findall(r"PostgreSQL (?:≥ )?(\d+)(?= or newer|,)", (DOCS / page).read_text())
    assert documented == [str(POSTGRESQL_MINIMUM)]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({}, ["molecule.W005"]),
        ({"PROXY_SCHEME": True}, []),
        ({"HOST": "0.0.0.0"}, []),
        ({"SECURE_SSL_REDIRECT": False}, []),
    ],
    ids=str,
)
def test_the_deploy_check_reports_an_endless_redirect(settings: Any, values: dict[str, Any], ids: list[str]) -> None:
    settings.SECURE_SSL_REDIRECT, settings.HOST = True, "127.0.0.1"
    for name, value in values.items():
        setattr(settings, name, value)
    found = run_checks(tags=["molecule"], include_deployment_checks=True)
    assert [str(message.id) for message in found] == ids
    assert reported_ids() == []
