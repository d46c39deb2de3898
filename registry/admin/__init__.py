"""The Django admin of the registry and, because its lists name workspaces, of activity. Importing it registers all."""

from registry.admin import facts, logs, secrets, tokens, workspaces

__all__ = ["facts", "logs", "secrets", "tokens", "workspaces"]
