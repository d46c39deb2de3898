"""Principal: the authenticated caller. Every credential becomes one; the log stores its `actor` string."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID


class Kind(StrEnum):
    ANONYMOUS = "anonymous"
    OPERATOR = "operator"
    WORKSPACE = "workspace"
    ENROLMENT = "enrolment"
    OPEN = "open"
    """An anonymous caller in open mode, who has the permissions of an operator."""
    SCRAPER = "scraper"
    """A caller with METRICS_TOKEN, who may only read metrics."""


class Level(IntEnum):
    """Permissions of an operator; each level includes the lower ones."""

    NONE = 0
    VIEW = 1
    ACT = 2
    ADMINISTER = 3


@dataclass(frozen=True, kw_only=True)
class Principal:
    """`workspace_id` and `token_id` are set for workspaces and enrolments, `name` and `user_id` for operators.

    `retired`: the token was valid until its workspace was removed. It has no permissions, but its agent gets 410
    instead of 401. `may_reveal`: it may let agents read secret values; for a workspace, it may read its own.
    """

    kind: Kind
    level: Level = Level.NONE
    name: str = ""
    user_id: int | None = None
    workspace_id: UUID | None = None
    token_id: UUID | None = None
    retired: bool = False
    may_reveal: bool = False

    @property
    def actor(self) -> str:
        """Kind and subject as the log stores them, such as "operator:ada#7" or "workspace:<id>".

        The id of the user is part of it, because a name may change, or be given to another user. Older rows have none.
        """
        subject = self.workspace_id if self.user_id is None else f"{self.name}#{self.user_id}"
        return f"{self.kind}:{subject}" if subject else str(self.kind)


def operator_name(subject: str) -> str:
    """Returns "ada" for "ada#7", the subject of an operator's actor, and for "ada", as in older rows."""
    name, _, user_id = subject.rpartition("#")
    return name if name and user_id.isdigit() else subject


ANONYMOUS = Principal(kind=Kind.ANONYMOUS)
