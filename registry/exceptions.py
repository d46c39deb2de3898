"""The errors of the registry. registry/api/errors.py gives each its HTTP status.

RegistryError
├── Invalid              a value breaks a rule; `field` says which
│   └── ManyProblems     several values break rules; `problems` says where and which
├── NotFound             there is no such workspace, agent, token or secret
├── Removed              the workspace was removed; `last_event` says when and by whom
├── Forwarded            the workspace was removed and is forwarded to another one
├── NotAllowed           the credential is valid, but does not permit this
├── BadCredential        the credential is not valid: used, expired, revoked or unknown
├── Conflict             the current state does not permit this
│   └── HasChildren      the removal would also remove children, and was not confirmed
├── PreconditionFailed   what the caller wants to change is not what it has read; `current` is its hash now
├── TooLarge             a value is larger than it may be; `field` says which
├── TooOften             an agent changed its card or URL too often; `wait` says when to try again
├── Unreachable          the workspace has no URL, or is not online
├── Busy                 a row or queue that the request needs is in use: nothing changed, try again
├── SecretsUnavailable   there is no usable encryption key
└── SecretsBroken        values cannot be decrypted; `failed_keys` names their keys
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from psycopg import errors
from psycopg_pool import PoolTimeout

# What the database raises while it is unavailable, or too busy: a lock or a statement took longer than it may.
UNAVAILABLE_ERRORS = (OperationalError, InterfaceError, PoolTimeout)
BUSY_CAUSES = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected)
# Django raises its InternalError for these: this process was paused in a transaction, or PostgreSQL is a standby.
OTHER_CAUSES = (errors.IdleInTransactionSessionTimeout, errors.ReadOnlySqlTransaction)
# The messages of 503 responses, whichever entry point sends them, and their Retry-After header.
DATABASE_UNAVAILABLE = "database unavailable, try again"
DATABASE_BUSY = "the database is busy, try again"
TOO_MANY_REQUESTS = "too many requests at once, try again"
# The message of a 401 for a request without the token that its workspace has. Agents of existing releases look for it.
MISSING_TOKEN = "missing workspace auth token"  # noqa: S105
RETRY_AFTER_SECONDS = 2


def why_unavailable(error: BaseException | None) -> str | None:
    """The message of the 503 for an error of the database; None for any other error."""
    cause = None if error is None else error.__cause__
    if isinstance(cause, BUSY_CAUSES):
        return DATABASE_BUSY
    is_unavailable = isinstance(error, UNAVAILABLE_ERRORS) or isinstance(cause, OTHER_CAUSES)
    return DATABASE_UNAVAILABLE if is_unavailable else None


class RegistryError(Exception):
    """`message` is for people, `code` for programs; `field` is the name of the invalid input, if any."""

    code = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    @property
    def as_body(self) -> dict[str, str]:
        """The error as one entry of a response with several results."""
        return {"error": self.message, "code": self.code}


class Invalid(RegistryError):
    """A value breaks a rule; `field` names it."""

    code = "invalid"


@dataclass(frozen=True)
class Problem:
    """What is wrong in a document, and where: such as `sub_workspaces[0].name`, or "" for all of it."""

    where: str
    error: str

    def __str__(self) -> str:
        return f"{self.where}: {self.error}" if self.where else self.error


class ManyProblems(Invalid):
    """`problems`: at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f", and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}", field=problems[0].where or None)
        self.problems = problems


class NotFound(RegistryError):
    """There is no such workspace, agent, token or secret."""

    code = "not_found"

    def __init__(self, message: str = "workspace not found") -> None:
        super().__init__(message)


class Removed(RegistryError):
    """The workspace was removed. `last_event` is its last event as REST shows it, where known."""

    code = "removed"

    def __init__(self, workspace_id: UUID, last_event: dict[str, Any] | None = None) -> None:
        super().__init__("workspace removed")
        self.workspace_id = workspace_id
        self.last_event = last_event


class Forwarded(RegistryError):
    """The workspace was removed; `forwarded_to` is its active successor, `url` the URL of that one's agent, or ""."""

    def __init__(self, workspace_id: UUID, forwarded_to: UUID, url: str) -> None:
        super().__init__("workspace forwarded")
        self.workspace_id = workspace_id
        self.forwarded_to = forwarded_to
        self.url = url


class NotAllowed(RegistryError):
    """The credential is valid, but does not permit this."""

    code = "not_allowed"


class BadCredential(RegistryError):
    """The credential is not valid: used, expired or unknown."""

    code = "bad_credential"


class Conflict(RegistryError):
    """The current state does not permit this."""

    code = "conflict"


class HasChildren(Conflict):
    """`children`: the id and name of each direct child."""

    def __init__(self, children: Sequence[tuple[UUID, str]]) -> None:
        super().__init__(
            f"workspace has {len(children)} children: send confirm=true to remove it and everything below it"
        )
        self.children = children


class PreconditionFailed(RegistryError):
    """Somebody else changed it first. `current` is the hash of what is there now, None if it is not there."""

    code = "precondition_failed"

    def __init__(self, message: str, current: str | None) -> None:
        super().__init__(f"{message}: read it again, then repeat the change")
        self.current = current


class TooLarge(RegistryError):
    """A value is larger than it may be; `field` names it."""

    code = "too_large"


class TooOften(RegistryError):
    """An agent made too many changes in a minute; `wait` is in whole seconds."""

    code = "throttled"

    def __init__(self, message: str, *, wait: int) -> None:
        super().__init__(message)
        self.wait = wait


class Unreachable(RegistryError):
    """The workspace has no URL, or is not online; `status` is its status."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class Busy(RegistryError):
    """A row or queue that the request needs is in use. Nothing changed; the caller may try again."""

    code = "busy"

    def __init__(self, message: str = "the workspace is being changed, try again") -> None:
        super().__init__(message)


class SecretsUnavailable(RegistryError):
    """There is no usable encryption key."""


class SecretsBroken(RegistryError):
    """Values cannot be decrypted; `failed_keys` are the names of their secrets."""

    def __init__(self, failed_keys: Sequence[str]) -> None:
        super().__init__(f"these secrets cannot be decrypted: {', '.join(failed_keys)}")
        self.failed_keys = failed_keys
