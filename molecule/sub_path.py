"""Serving below a sub-path of a site, such as https://example.org/molecule/: settings.FORCE_SCRIPT_NAME."""

from typing import Any

from django.conf import settings


class SubPath:
    """ASGI middleware: the application sees paths without the prefix, whether the proxy has removed it or not."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        prefixes = [prefix for prefix in (scope.get("root_path"), settings.FORCE_SCRIPT_NAME) if prefix]
        if prefixes:
            path = scope["path"]
            for prefix in prefixes:
                path = without_prefix(path, prefix)
            scope = {**scope, "path": path, "root_path": ""}
        await self.application(scope, receive, send)


def without_prefix(path: str, prefix: str) -> str:
    """`path` relative to `prefix`; unchanged when it is not below it."""
    return path.removeprefix(prefix) or "/" if f"{path}/".startswith(f"{prefix}/") else path


def public_path(path: str) -> str:
    """The path in a browser's address of what is at `path` here."""
    return f"{settings.FORCE_SCRIPT_NAME}{path}"
