"""What command the files of a workspace are run with, where no image says that."""

import shlex

from registry.config import agent_config
from registry.config.contents import Files
from registry.exceptions import Invalid
from registry.runtime.backend import NotRunnable, Refused

DEFAULT = "agent.py"
PYTHON = ("python", "python3")


def command(files: Files, *, python: str) -> list[str]:
    """The `entrypoint` of config.yaml, split as a shell does, or else `python agent.py`. Raises NotRunnable, Refused.

    `python`: what the words python and python3 stand for at its beginning.
    """
    if not files:
        raise NotRunnable("no_files", "it has no files")
    words = _words(files)
    if not words:
        if DEFAULT not in files:
            raise NotRunnable("no_entrypoint", f"config.yaml has no entrypoint, and there is no {DEFAULT}")
        words = [PYTHON[0], DEFAULT]
    return [python if words[0] in PYTHON else words[0], *words[1:]]


def _words(files: Files) -> list[str]:
    content = files.get(agent_config.NAME)
    if content is None:
        return []
    try:
        return shlex.split(agent_config.read(content.data).entrypoint)
    except Invalid as error:
        raise Refused("invalid_config", error.message) from None
    except ValueError as error:
        raise Refused("invalid_config", f"{agent_config.NAME}: entrypoint: {error}") from None
