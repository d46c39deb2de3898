"""The admin of registry and, because its lists name workspaces, of activity. Importing registers."""

from registry.admin import facts, logs, secrets, tokens, workspaces

__all__ = ["facts", "logs", "secrets", "tokens", "workspaces"]
