"""What can go wrong in the registry. registry/api/errors.py gives each its HTTP status.

RegistryError
├── Invalid              a value breaks a rule; `field` says which
├── NotFound             no such workspace, agent, token or secret
├── Removed              the workspace is gone for good; `last_event` says how
├── Forwarded            the workspace lives on elsewhere
├── NotAllowed           the credential is good, the act is not permitted
├── BadCredential        the credential is not good (used, expired, unknown)
├── Conflict             the present state does not permit it
│   └── HasChildren      removal would take children along and was not confirmed
├── Unreachable          the workspace has no address, or nobody is there
├── SecretsUnavailable   no usable encryption key
└── SecretsBroken        sealed values that do not open; `failed_keys` names them
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

# What the database raises while it is unavailable.
UNAVAILABLE_ERRORS = (OperationalError, InterfaceError, PoolTimeout)


class RegistryError(Exception):
    """`message` is for people, `code` for programs; `field` names the offending input where there is one."""

    code = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    @property
    def as_body(self) -> dict[str, str]:
        """The error as an entry of an answer that holds several results."""
        return {"error": self.message, "code": self.code}


class Invalid(RegistryError):
    code = "invalid"


class NotFound(RegistryError):
    code = "not_found"

    def __init__(self, message: str = "workspace not found") -> None:
        super().__init__(message)


class Removed(RegistryError):
    code = "removed"

    def __init__(self, workspace_id: UUID, last_event: dict[str, Any] | None = None) -> None:
        super().__init__("workspace removed")
        self.workspace_id = workspace_id
        self.last_event = last_event


class Forwarded(RegistryError):
    def __init__(self, workspace_id: UUID, forwarded_to: UUID, url: str) -> None:
        super().__init__("workspace forwarded")
        self.workspace_id = workspace_id
        self.forwarded_to = forwarded_to
        self.url = url


class NotAllowed(RegistryError):
    code = "not_allowed"


class BadCredential(RegistryError):
    code = "bad_credential"


class Conflict(RegistryError):
    code = "conflict"


class HasChildren(Conflict):
    """`children` are the direct ones as (id, name)."""

    def __init__(self, children: Sequence[tuple[UUID, str]]) -> None:
        super().__init__(f"workspace has {len(children)} children: confirm=true removes them and all below them")
        self.children = children


class Unreachable(RegistryError):
    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class SecretsUnavailable(RegistryError):
    pass


class SecretsBroken(RegistryError):
    def __init__(self, failed_keys: Sequence[str]) -> None:
        super().__init__(f"these secrets do not open: {', '.join(failed_keys)}")
        self.failed_keys = failed_keys
