"""The Django admin of the registry and, because its lists name workspaces, of activity. Importing it registers all."""

from registry.admin import logs, read_only, secrets, tokens, users, workspaces

__all__ = ["logs", "read_only", "secrets", "tokens", "users", "workspaces"]
