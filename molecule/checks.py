"""System checks: configuration that is unsafe or cannot work. An error keeps the web process from starting."""

import re
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from activity import roles
from molecule.settings import is_loopback
from molecule.shares import MINIMUM_POOL_SIZE, OTHER_THREADS, Shares
from registry.secrets.sealing import Keyring, KeyUnusable

# The oldest that the tests have run on.
POSTGRESQL_MINIMUM = 15
ENROLMENT = ("open", "token")
RUNTIME_BACKENDS = ("", "process")
RETENTION_DAYS = (
    "ACTIVITY_RETENTION_DAYS",
    "LOGIN_RETENTION_DAYS",
    "TOKEN_RETENTION_DAYS",
    "SECRET_ACCESS_RETENTION_DAYS",
)
LONGEST_RETENTION_DAYS = 365 * 100
LONGEST_INTERVAL_HOURS = 24 * 365
# Zero means no bound for PostgreSQL, and that nothing gets through, or an error, elsewhere.
BOUNDS = (
    "RATE_LIMIT",
    "RATE_LIMIT_HEARTBEATS",
    "RATE_LIMIT_STRANGERS",
    "RATE_LIMIT_CHANGES",
    "RUNTIME_CONCURRENCY",
    "LOGIN_ATTEMPTS",
    "LOGIN_LOCK_MINUTES",
    "LOGIN_ADDRESS_FAILURES",
    "LOGIN_ADDRESS_MINUTES",
    "BATCH_LOCK_SECONDS",
    "WEB_QUEUE_SECONDS",
    "WEB_CONNECT_SECONDS",
    "WEB_LOCK_SECONDS",
    "WEB_STATEMENT_SECONDS",
    "MIGRATION_LOCK_SECONDS",
    "MIGRATION_TRIES",
    "READY_SECONDS",
    "MAX_BODY_BYTES",
    "MAX_FILES_BODY_BYTES",
    "MAX_STRANGER_BODY_BYTES",
    "MAX_HEARTBEAT_BYTES",
    "MAX_REGISTRATION_BYTES",
    "MAX_CARD_BYTES",
    "MAX_JSON_VALUES",
    "MAX_PAGE_BYTES",
    "MAX_REPLAY_BYTES",
    "SOCKET_UNSENT_BYTES",
    "SOCKET_HANDSHAKE_SECONDS",
)
SUB_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
METRICS_TOKEN = re.compile(r"[!-+\--~]{16,256}")


def refuse_unsafe_configuration() -> None:
    """For the start of the web process, which runs no `manage.py check`. Raises ImproperlyConfigured."""
    errors = [message for message in run_checks(tags=["molecule"]) if message.is_serious()]
    if errors:
        raise ImproperlyConfigured("; ".join(f"{error.id}: {error.msg} {error.hint or ''}".strip() for error in errors))


@register("molecule")
def open_mode(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.MOLECULE_OPEN or (is_loopback(settings.HOST) and settings.DEBUG):
        return []
    return [
        Error(
            "MOLECULE_OPEN makes everybody an administrator, and others may be able to reach this server.",
            hint="Unset MOLECULE_OPEN, or set DEBUG=true and HOST=127.0.0.1.",
            id="molecule.E001",
        )
    ]


@register("molecule")
def enrolment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.MOLECULE_ENROLMENT not in ENROLMENT:
        return [Error("MOLECULE_ENROLMENT must be open or token.", id="molecule.E002")]
    if settings.MOLECULE_ENROLMENT == "open" and not (is_loopback(settings.HOST) and settings.DEBUG):
        return [
            Warning(
                "MOLECULE_ENROLMENT=open: anybody can register as a workspace that has no agent yet.",
                hint="Set MOLECULE_ENROLMENT=token; POST /workspaces returns a one-time token for each agent.",
                id="molecule.W001",
            )
        ]
    return []


@register("molecule")
def encryption_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.SECRETS_ENCRYPTION_KEY:
        return [Warning("SECRETS_ENCRYPTION_KEY is not set: secrets cannot be stored or read.", id="molecule.W002")]
    try:
        Keyring.parse(settings.SECRETS_ENCRYPTION_KEY)
    except KeyUnusable as error:
        return [Error(str(error), id="molecule.E003")]
    return []


@register("molecule")
def retention(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = [
        Error(f"{name} must be 0 to {LONGEST_RETENTION_DAYS}.", hint="0 keeps the rows forever.", id="molecule.E004")
        for name in RETENTION_DAYS
        if not 0 <= getattr(settings, name) <= LONGEST_RETENTION_DAYS
    ]
    if not 0 < settings.ACTIVITY_CLEANUP_INTERVAL_HOURS <= LONGEST_INTERVAL_HOURS:
        longest = f"over 0, at most {LONGEST_INTERVAL_HOURS}"
        found.append(Error(f"ACTIVITY_CLEANUP_INTERVAL_HOURS must be {longest}.", id="molecule.E005"))
    return found


@register("molecule")
def metrics_token(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.METRICS_TOKEN or METRICS_TOKEN.fullmatch(settings.METRICS_TOKEN):
        return []
    wanted = "METRICS_TOKEN must be 16 to 256 ASCII characters without spaces and commas."
    return [Error(wanted, hint="openssl rand -hex 32 makes one.", id="molecule.E006")]


@register("molecule")
def pool_size(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.DATABASE_POOL_SIZE >= MINIMUM_POOL_SIZE:
        return []
    others = ", ".join(f"{count} for {what}" for what, count in OTHER_THREADS.items())
    kinds = ", ".join(Shares._fields).replace("_", " ")
    return [
        Error(
            f"DATABASE_POOL_SIZE must be at least {MINIMUM_POOL_SIZE}: a web process keeps one connection for each "
            f"thread that may need one, so that none waits for another ({others}; one each for {kinds}).",
            id="molecule.E008",
        )
    ]


@register("molecule")
def bounds(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    wrong = [name for name in BOUNDS if not getattr(settings, name) > 0]
    return [Error(f"{name} must be over 0: nothing is without a bound.", id="molecule.E009") for name in wrong]


@register("molecule")
def proxy(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.PROXY_ADDRESSES < 0:
        found.append(Error("PROXY_ADDRESSES must be 0 or the number of proxies.", id="molecule.E010"))
    if settings.SECURE_PROXY:
        found.append(
            Warning(
                "SECURE_PROXY is deprecated and will be ignored by the next release.",
                hint="Set PROXY_SCHEME=true if the proxy sets X-Forwarded-Proto, and PROXY_ADDRESSES=1 if it appends "
                "the client's address to X-Forwarded-For: docs/configuration.md, Behind a proxy.",
                id="molecule.W004",
            )
        )
    return found


@register("molecule")
def sub_path(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if SUB_PATH.fullmatch(settings.FORCE_SCRIPT_NAME):
        return []
    return [
        Error(
            f"FORCE_SCRIPT_NAME must be a path, not {settings.FORCE_SCRIPT_NAME!r}.",
            hint="For https://example.org/molecule/ it is /molecule. Letters, digits, slashes and . _ ~ - are allowed.",
            id="molecule.E011",
        )
    ]


@register("molecule")
def runtime_backend(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.RUNTIME_BACKEND not in RUNTIME_BACKENDS:
        known = " or ".join(filter(None, RUNTIME_BACKENDS))
        return [Error(f"RUNTIME_BACKEND must be {known}, or unset.", id="molecule.E012")]
    if settings.RUNTIME_BACKEND == "process" and not (is_loopback(settings.HOST) and settings.DEBUG):
        return [
            Error(
                "RUNTIME_BACKEND=process runs what operators write as processes of this host.",
                hint="It is for development: set DEBUG=true and HOST=127.0.0.1, or unset it.",
                id="molecule.E013",
            )
        ]
    return []


@register("molecule", deploy=True)
def endless_redirect(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """On another HOST, uvicorn may have the certificate itself."""
    if not settings.SECURE_SSL_REDIRECT or settings.PROXY_SCHEME or not is_loopback(settings.HOST):
        return []
    return [
        Warning(
            f"On HOST={settings.HOST} only a proxy can be reached over https, and PROXY_SCHEME is off: every request "
            "that the proxy passes on is redirected to https, for ever.",
            hint="Set PROXY_SCHEME=true, and let the proxy set X-Forwarded-Proto: docs/configuration.md, Behind a "
            "proxy. If uvicorn has the certificate itself, set HOST to the address at which it listens.",
            id="molecule.W005",
        )
    ]


@register(Tags.database)
def postgresql_version(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """For `migrate` and `check --database default`; other commands check no database."""
    versions = [postgresql_major(connections[name]) for name in databases or ()]
    return [
        Error(
            f"PostgreSQL {version} is too old.",
            hint=f"Molecule needs PostgreSQL {POSTGRESQL_MINIMUM} or newer.",
            id="molecule.E007",
        )
        for version in versions
        if version < POSTGRESQL_MINIMUM
    ]


@register(Tags.database)
def serving_role(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """For `migrate` and `check --database default`; /health/ready says it too."""
    if not databases or not (excess_rights := roles.excess_rights()):
        return []
    return [
        Warning(
            f"The role {roles.serving_role()}, which serves, {', '.join(excess_rights)}.",
            hint="Let another role own the database, in DATABASE_OWNER_URL: docs/configuration.md, Two roles.",
            id="molecule.W003",
        )
    ]


def postgresql_major(connection: Any) -> int:
    """The server's major version."""
    return int(connection.pg_version) // 10_000
