"""Who is asking. Every credential becomes one Principal; its actor string is what the log keeps."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from uuid import UUID


class Kind(StrEnum):
    ANONYMOUS = "anonymous"
    OPERATOR = "operator"
    WORKSPACE = "workspace"
    ENROLMENT = "enrolment"
    OPEN = "open"
    """Nobody in particular, while open mode takes everybody for an operator."""
    SCRAPER = "scraper"
    """Whoever holds METRICS_TOKEN: it reads metrics, and nothing else."""


class Level(IntEnum):
    """What an operator may do; each level includes the ones below."""

    NONE = 0
    VIEW = 1
    ACT = 2
    ADMINISTER = 3


@dataclass(frozen=True, kw_only=True)
class Principal:
    """`workspace_id` and `token_id` are set for workspaces and enrolments, `name` for operators.

    `retired` marks a token that was good until its workspace was removed: it opens nothing, but its
    agent may still be told 410.
    """

    kind: Kind
    level: Level = Level.NONE
    name: str = ""
    workspace_id: UUID | None = None
    token_id: UUID | None = None
    retired: bool = False

    @property
    def actor(self) -> str:
        subject = self.name or self.workspace_id
        return f"{self.kind}:{subject}" if subject else str(self.kind)


ANONYMOUS = Principal(kind=Kind.ANONYMOUS)
