"""What a backend is: it starts, watches and stops what runs the agents. Nothing here knows the database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from registry.config.contents import Files


class BackendError(Exception):
    """`reason` is for programs, the message for people. Neither has the value of a secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Refused(BackendError):
    """The workspace cannot be run as it is: trying again changes nothing."""


class NotRunnable(Refused):
    """Nothing says how this backend would run the workspace. An agent that runs elsewhere may fill it."""


class Unavailable(BackendError):
    """It did not work now. Trying again may."""


class Liveness(StrEnum):
    """What a backend knows of a resource. `UNKNOWN` is not `DEAD`: nothing may be started or declared dead by it."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """`tiers`: those that the backend can give in full. `limits_cpu`: whether it limits how much CPU a tier gets."""

    tiers: frozenset[int]
    limits_cpu: bool


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where an agent finds its files, its plugins, and a folder for work that is kept; that is None in tier 1."""

    configs: str
    plugins: str
    workspace: str | None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is to run. `environment` has secrets; `token` is the workspace's, for the file `.auth_token`."""

    workspace_id: UUID
    generation: int
    tier: int
    runtime: str
    files: Files = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A process or container of a workspace. `resource_id` names this one and never another, also after a restart.
    `url`: where the agent in it can be called, if it listens; it is told as AGENT_HOST, AGENT_PORT and AGENT_URL."""

    workspace_id: UUID
    generation: int
    resource_id: str
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of a workspace's resource; `detail` says how it ended, or why nothing is known. Not `began`: it was
    made, and the agent in it has never run, as whoever made it was interrupted."""

    liveness: Liveness
    resource: Resource | None = None
    detail: str = ""
    began: bool = True


class Backend(ABC):
    """Every method names a workspace, of which at most one resource runs. All may be called again after a failure.

    They take seconds, so they are called outside of transactions. All raise Unavailable.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @abstractmethod
    def paths(self, workspace_id: UUID, tier: int) -> Paths:
        """Where the agent will find its files."""

    @abstractmethod
    def check(self, spec: Spec) -> None:
        """Raises Refused, NotRunnable. Looks at neither environment nor token."""

    def prepare(self, spec: Spec) -> None:  # noqa: B027  # there may be nothing to prepare
        """Make what a start needs and takes long, e.g. an environment or an image. It may be interrupted at any time.
        Looks at neither environment nor token. Raises Refused."""

    @abstractmethod
    def start(self, spec: Spec, created: Callable[[Resource], None]) -> Resource:
        """Start it, unless this generation already runs. `created` is called with the resource before the agent does
        anything; if that raises, the agent never runs. Raises Refused, NotRunnable.
        """

    @abstractmethod
    def stop(self, workspace_id: UUID) -> None:
        """End what runs. Its files stay. Nothing to stop is no error."""

    @abstractmethod
    def remove(self, workspace_id: UUID) -> None:
        """End what runs, and delete all that the workspace has here."""

    @abstractmethod
    def probe(self, workspace_id: UUID) -> Observation:
        """What runs now. An answer that cannot be had is UNKNOWN and no exception."""

    @abstractmethod
    def list_owned(self) -> list[Resource]:
        """Everything of this installation that runs, or was left behind, whatever the database says."""

    @abstractmethod
    def logs(self, workspace_id: UUID, *, lines: int) -> str:
        """The last lines that the agent printed, with whatever it printed: mask before you show them."""
