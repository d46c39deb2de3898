"""The tables of the registry as Django models, under one import path."""

from registry.models.agents import Agent, AgentStatus
from registry.models.deployments import Deployment, DeploymentState, Desired
from registry.models.files import AgentSettings, WorkspaceFile, WorkspaceFileRevision
from registry.models.filters import SavedFilter
from registry.models.jobs import LoopTick, LoopTicks
from registry.models.secrets import (
    RESERVED,
    GlobalSecret,
    SealedSecret,
    SecretAccess,
    SecretAction,
    WorkspaceSecret,
    secret_key_name,
    variable_name,
)
from registry.models.templates import AgentTemplate, AgentTemplateFile, Transfer, TransferKind
from registry.models.tokens import OperatorToken, Token, TokenKind, WorkspaceToken
from registry.models.workspaces import (
    ALIVE,
    DEFAULT_TIER,
    EXTERNAL,
    Status,
    Workspace,
    WorkspaceQuerySet,
    no_line_breaks,
)

__all__ = [
    "ALIVE",
    "DEFAULT_TIER",
    "EXTERNAL",
    "RESERVED",
    "Agent",
    "AgentSettings",
    "AgentStatus",
    "AgentTemplate",
    "AgentTemplateFile",
    "Deployment",
    "DeploymentState",
    "Desired",
    "GlobalSecret",
    "LoopTick",
    "LoopTicks",
    "OperatorToken",
    "SavedFilter",
    "SealedSecret",
    "SecretAccess",
    "SecretAction",
    "Status",
    "Token",
    "TokenKind",
    "Transfer",
    "TransferKind",
    "Workspace",
    "WorkspaceFile",
    "WorkspaceFileRevision",
    "WorkspaceQuerySet",
    "WorkspaceSecret",
    "WorkspaceToken",
    "no_line_breaks",
    "secret_key_name",
    "variable_name",
]
