"""Below a sub-path of the site the application sees paths without it."""

from typing import Any

import pytest

from molecule.sub_path import SubPath


@pytest.mark.parametrize(
    ("root_path", "path", "seen"),
    [
        ("", "/molecule/ws", "/ws"),
        ("", "/ws", "/ws"),
        ("", "/molecule/", "/"),
        ("", "/molecule", "/"),
        ("", "/", "/"),
        ("", "/molecules/ws", "/molecules/ws"),
        ("", "/molecule/molecule/ws", "/molecule/ws"),
        ("/molecule", "/molecule/ws", "/ws"),  # uvicorn --root-path: it puts this before every path
        ("/molecule", "/molecule/molecule/ws", "/ws"),
    ],
)
async def test_paths_are_seen_without_the_prefix(settings: Any, root_path: str, path: str, seen: str) -> None:
    settings.FORCE_SCRIPT_NAME = "/molecule"
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await SubPath(application)({"type": "http", "path": path, "root_path": root_path}, None, None)
    assert [(scope["path"], scope["root_path"]) for scope in scopes] == [(seen, "")]


async def test_without_the_setting_paths_stay_as_they_are() -> None:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await SubPath(application)({"type": "websocket", "path": "/molecule/ws", "root_path": ""}, None, None)
    assert [scope["path"] for scope in scopes] == ["/molecule/ws"]
