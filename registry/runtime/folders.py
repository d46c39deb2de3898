"""The folder of a workspace that the process backend runs: its files, its log, and the note of what runs."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import UUID

from registry.config.contents import Content, Files
from registry.runtime.backend import Unavailable

TOKEN = ".auth_token"  # noqa: S105  # its name
# The numbers that systemd gives to services without a user of their own (DynamicUser).
FIRST_USER, LAST_USER = 61184, 65519
LOG_BYTES = 1024 * 1024
"""What is kept of a log, twice: of the running file and of the one before it."""
LOCK_SECONDS = 30.0


@dataclass(frozen=True)
class Folder:
    """`<root>/<workspace>/`. It belongs to the platform, and what the agent may write to the agent's user."""

    path: Path

    @property
    def configs(self) -> Path:
        """The files that the agent is made of, and its token."""
        return self.path / "configs"

    @property
    def workspace(self) -> Path:
        """What the agent keeps. It survives restarts, and its owner is the agent's user."""
        return self.path / "workspace"

    @property
    def plugins(self) -> Path:
        """For plugins."""
        return self.path / "plugins"

    @property
    def log(self) -> Path:
        """What the agent prints."""
        return self.path / "log"

    @property
    def note(self) -> Path:
        """What runs, as JSON."""
        return self.path / "running"

    def prepare(self, files: Files, token: str) -> int:
        """Write everything anew that the agent does not keep; returns the id of its user.

        The files are written where the agent has no rights and then moved: it could otherwise put a link in their way.
        """
        self._make()
        user = self._user()
        for folder in (self.workspace, self.plugins):
            folder.mkdir(mode=0o700, exist_ok=True)
            _give(folder, user)
        unfinished = self.path / "configs.new"
        delete(unfinished)
        unfinished.mkdir(mode=0o700)
        for path, content in {**files, TOKEN: Content(token.encode())}.items():
            _write(unfinished, path, content, 0o600 if path == TOKEN else content.mode)
        for written in [unfinished, *unfinished.rglob("*")]:
            _give(written, user)
        delete(self.configs)
        unfinished.rename(self.configs)
        self.trim_log()
        return user

    def open_log(self) -> IO[bytes]:
        """For appending."""
        self._make()
        self.log.touch(mode=0o600)
        return self.log.open("ab")

    def say(self, text: str) -> None:
        """A line of the platform's own in the log."""
        with self.open_log() as log:
            log.write(f"molecule: {text}\n".encode())

    def trim_log(self) -> None:
        """Keep the log within LOG_BYTES. The agent's descriptor appends, so it continues at the new beginning."""
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES:
                text = _end_of(self.log, LOG_BYTES)
                replace(self._earlier_log, text)
                os.truncate(self.log, 0)

    def tail(self, lines: int) -> str:
        """The last lines of the log."""
        text = b"".join(_end_of(path, LOG_BYTES) for path in (self._earlier_log, self.log))
        return "\n".join(text.decode(errors="replace").splitlines()[-lines:])

    @property
    def _earlier_log(self) -> Path:
        return self.path / "log.1"

    def _make(self) -> None:
        for folder in (self.path.parent, self.path):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)

    def _user(self) -> int:
        """A user of its own for each workspace, where the platform is root: agents cannot read each other's secrets."""
        if os.geteuid() != 0:
            return os.geteuid()
        if (user := _owner(self.workspace)) >= FIRST_USER:
            return user
        with locked(self.path.parent / "users.lock"):
            taken = {_owner(each) for each in self.path.parent.glob("*/workspace")}
            free = next((one for one in range(FIRST_USER, LAST_USER + 1) if one not in taken), None)
            if free is None:
                raise Unavailable("no_user", f"all users from {FIRST_USER} to {LAST_USER} are taken")
            self.workspace.mkdir(mode=0o700, exist_ok=True)
            _give(self.workspace, free)
            return free


def of(root: Path, workspace_id: UUID) -> Folder:
    """The folder of a workspace, whether it exists or not."""
    return Folder(root / str(workspace_id))


@contextmanager
def locked(
    path: Path, *, seconds: float | None = None, busy: str = "another supervisor is working on this workspace"
) -> Iterator[None]:
    """Hold the lock file, which another process or thread may hold or delete. Raises Unavailable, with `busy`, after so
    many seconds, LOCK_SECONDS if not given."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    deadline = time.monotonic() + (LOCK_SECONDS if seconds is None else seconds)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, path):
                yield
                return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable("busy", busy) from None
        finally:
            os.close(descriptor)
        time.sleep(0.02)


def replace(path: Path, data: bytes) -> None:
    """Write it atomically and privately: a reader sees all of it or nothing, also after a power failure."""
    unfinished = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def delete(path: Path) -> None:
    """Delete a folder and all in it, also what its owner made unreadable. Follows no links."""
    if not path.exists():
        return
    if os.geteuid() != 0:
        for folder, names, _ in os.walk(path):
            for each in (Path(folder) / name for name in names):
                if not each.is_symlink():
                    each.chmod(0o700)
    shutil.rmtree(path)


def _write(root: Path, name: str, content: Content, mode: int) -> None:
    path = root / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=mode & 0o700)
    path.write_bytes(content.data)
    path.chmod(mode)


def _give(path: Path, user: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, user, user, follow_symlinks=False)


def _owner(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_uid
    return -1


def _end_of(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except FileNotFoundError:
        return b""


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether the file has not been deleted, or made anew, since it was opened."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
