"""What keeps an agent that is a process of this host within its tier: a user of its own, limits, and a sandbox."""

import os
import shutil
import subprocess
from functools import cache
from typing import Any

from registry.runtime import folders, tiers
from registry.runtime.folders import Folder

OPEN_FILES = 1024
# Both from util-linux, and both become the program that they start.
LIMIT, NO_NEW_PRIVILEGES = "prlimit", ("setpriv", "--no-new-privs", "--")
SANDBOX = "bwrap"
SANDBOX_SECONDS = 10.0


def problem(tier: int) -> tuple[str, str] | None:
    """Why this host cannot confine an agent of the tier: a reason and its explanation."""
    if missing := [name for name in (LIMIT, NO_NEW_PRIVILEGES[0]) if shutil.which(name) is None]:
        return "unsupported_host", f"not installed here: {', '.join(missing)} (util-linux)"
    if tier == 1 and (found := sandbox_problem()):
        return "tier_not_offered", f"tier 1 needs bubblewrap: {found}"
    return None


def identity(user: int) -> dict[str, Any]:
    """Arguments of Popen: who runs it, where the platform is root and can choose."""
    return {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}


def limit(limits: tiers.Limits) -> list[str]:
    """The beginning of a command that has no more than this."""
    command = [*NO_NEW_PRIVILEGES, LIMIT, "--core=0", f"--nofile={OPEN_FILES}"]
    if limits.memory_bytes is not None:
        command.append(f"--data={limits.memory_bytes}")
    # It counts all processes of the user, so it means something only where each agent has a user of its own.
    if limits.processes is not None and os.geteuid() == 0:
        command.append(f"--nproc={limits.processes}")
    return [*command, "--"]


def sandbox(folder: Folder) -> list[str]:
    """The beginning of a command that sees a read-only file system with a /tmp of its own, and no other processes."""
    configs = str(folder.configs)
    command = [
        shutil.which(SANDBOX) or SANDBOX,
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",  # noqa: S108  # inside the sandbox
    ]
    return [*command, "--ro-bind", configs, configs, "--unshare-pid", "--unshare-ipc", "--chdir", configs, "--"]


@cache
def sandbox_problem() -> str:
    """Why there is no sandbox on this host; "" where there is."""
    if shutil.which(SANDBOX) is None:
        return f"{SANDBOX} is not installed"
    command = [SANDBOX, "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--unshare-ipc", "--", "/bin/true"]
    done = subprocess.run(  # noqa: S603
        command,
        **identity(folders.FIRST_USER),
        env={"PATH": os.environ.get("PATH", os.defpath)},
        capture_output=True,
        text=True,
        timeout=SANDBOX_SECONDS,
    )
    return done.stderr.strip() or f"{SANDBOX} ended with status {done.returncode}" if done.returncode else ""
