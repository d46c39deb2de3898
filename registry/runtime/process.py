"""The process backend: an agent is a child process with a session of its own, on the platform's own host.

For development: it limits memory and the number of processes, but no CPU, and no network.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from registry.config.contents import Files
from registry.runtime import confinement, entrypoint, folders, process_table, requirements, tiers, virtualenvs
from registry.runtime.backend import (
    Backend,
    BackendError,
    Capabilities,
    Liveness,
    Observation,
    Paths,
    Refused,
    Resource,
    Spec,
    Unavailable,
)
from registry.runtime.folders import Folder
from registry.runtime.process_table import Identity
from registry.runtime.virtualenvs import Virtualenv

HOST = "127.0.0.1"
TERMINATE_SECONDS = 10.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.05
# It waits for a line on its standard input, which ends without one if the platform is killed: then nothing is run.
GATE = ("/bin/sh", "-c", 'IFS= read -r word && [ "$word" = go ] && exec "$@" </dev/null', "sh")
GO = b"go\n"
SYSTEM_PYTHON = "python3"


class ProcessBackend(Backend):
    """Runs agents below the folder `root`, with environments in the folder `runtimes` beside it. Several supervisors of
    one host may use the same ones."""

    name: ClassVar[str] = "process"
    capabilities: ClassVar[Capabilities] = Capabilities(tiers=frozenset({1, 2}), limits_cpu=False)

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        # Not waited for until they are stopped: as long as the leader of a session is there, so is its number.
        self._children: dict[UUID, subprocess.Popen[bytes]] = {}
        self._mutex = threading.Lock()

    def paths(self, workspace_id: UUID, tier: int) -> Paths:
        folder = self._folder(workspace_id)
        kept = None if tier == 1 else str(folder.workspace)
        return Paths(configs=str(folder.configs), plugins=str(folder.plugins), workspace=kept)

    def check(self, spec: Spec) -> None:
        entrypoint.command(spec.files, python=self._python(spec.files))
        tiers.check_allowed(spec.tier, self.capabilities.tiers, backend=self.name)
        if problem := confinement.problem(spec.tier):
            raise Refused(*problem)
        if self._virtualenv(spec.files) is not None:
            virtualenvs.pip_runner()

    def prepare(self, spec: Spec) -> None:
        if (virtualenv := self._virtualenv(spec.files)) is not None:
            with _as_unavailable():
                virtualenv.build(self._folder(spec.workspace_id))

    def start(self, spec: Spec, created: Callable[[Resource], None]) -> Resource:
        self.check(spec)
        folder = self._folder(spec.workspace_id)
        with self._alone(spec.workspace_id):
            if (running := _running(folder)) is not None:
                if running.generation != spec.generation:
                    raise Unavailable("still_running", f"generation {running.generation} still runs")
                created(running)
                return running
            self._end(spec.workspace_id)
            return self._launch(spec, folder, created)

    def stop(self, workspace_id: UUID) -> None:
        with self._alone(workspace_id):
            self._end(workspace_id)

    def remove(self, workspace_id: UUID) -> None:
        with self._alone(workspace_id) as lock:
            self._end(workspace_id)
            folders.delete(self._folder(workspace_id).path)
            lock.unlink()

    def probe(self, workspace_id: UUID) -> Observation:
        folder = self._folder(workspace_id)
        try:
            note = _note(folder)
            if note is None:
                self._reap(workspace_id)
                return Observation(liveness=Liveness.DEAD, detail="nothing runs")
            folder.trim_log()
            noted = _resource(folder, note)
            identity = Identity.parse(noted.resource_id)
            if process_table.is_running(identity):
                return Observation(liveness=Liveness.ALIVE, resource=noted)
            detail = self._ending(workspace_id, identity)
            return Observation(liveness=Liveness.DEAD, resource=noted, detail=detail, began=bool(note.get("began")))
        except (OSError, ValueError) as error:
            return Observation(liveness=Liveness.UNKNOWN, detail=f"{type(error).__name__}: {error}")

    def list_owned(self) -> list[Resource]:
        with _as_unavailable():
            for workspace_id in [i for i in list(self._children) if _note(self._folder(i)) is None]:
                self._reap(workspace_id)
            found = [_noted(Folder(path)) for path in self._folders()]
        return [noted for noted in found if noted is not None]

    def logs(self, workspace_id: UUID, *, lines: int) -> str:
        with _as_unavailable():
            return self._folder(workspace_id).tail(lines)

    def _folder(self, workspace_id: UUID) -> Folder:
        return folders.of(self.root, workspace_id)

    def _folders(self) -> Iterator[Path]:
        for path in self.root.glob("*/"):
            with suppress(ValueError):
                UUID(path.name)
                yield path

    @contextmanager
    def _alone(self, workspace_id: UUID) -> Iterator[Path]:
        """The only one to work on this workspace, on this host. Yields the lock's file."""
        path = self.root / f"{workspace_id}.lock"
        with _as_unavailable(), folders.locked(path):
            yield path

    def _launch(self, spec: Spec, folder: Folder, created: Callable[[Resource], None]) -> Resource:
        user = folder.prepare(spec.files, spec.token)
        python = self._python(spec.files)
        command = entrypoint.command(spec.files, python=python)
        if spec.tier == 1:
            command = [*confinement.sandbox(folder), *command]
        port = _free_port()
        environment = {**_base_environment(spec, folder, python), **spec.environment, **_address(port)}
        child = self._spawn([*confinement.limit(tiers.LIMITS[spec.tier]), *GATE, *command], folder, environment, user)
        try:
            identity = process_table.identify(child.pid)
            if identity is None or child.stdin is None:
                raise Unavailable("start_failed", "the process ended at once")
            started = Resource(
                workspace_id=spec.workspace_id,
                generation=spec.generation,
                resource_id=str(identity),
                url=_address(port)["AGENT_URL"],
            )
            _write_note(folder, started, began=False)
            created(started)
            child.stdin.write(GO)
            child.stdin.close()
            _write_note(folder, started, began=True)
        except BaseException:
            _abort(child)
            folder.note.unlink(missing_ok=True)
            raise
        with self._mutex:
            self._children[spec.workspace_id] = child
        return started

    def _spawn(
        self, command: list[str], folder: Folder, environment: Mapping[str, str], user: int
    ) -> "subprocess.Popen[bytes]":
        with folder.open_log() as log:
            return subprocess.Popen(  # noqa: S603
                command,
                **confinement.identity(user),
                cwd=folder.configs,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                bufsize=0,
            )

    def _end(self, workspace_id: UUID) -> None:
        """SIGTERM to all of the session, SIGKILL to what is left. Nobody else must work on the workspace."""
        folder = self._folder(workspace_id)
        noted = _noted(folder)
        if noted is None:
            return
        leader, mark = Identity.parse(noted.resource_id), _mark(folder)
        for number, seconds in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            left = _signal(leader, mark, number, seconds)
        if left:
            raise Unavailable("still_running", f"processes that do not end by SIGKILL: {', '.join(map(str, left))}")
        self._reap(workspace_id)
        folder.note.unlink(missing_ok=True)

    def _reap(self, workspace_id: UUID) -> None:
        """Let the number of a process that has ended be used again. Another supervisor may have stopped it."""
        with self._mutex:
            child = self._children.get(workspace_id)
            if child is not None and child.poll() is not None:
                del self._children[workspace_id]

    def _ending(self, workspace_id: UUID, identity: Identity) -> str:
        """How a process ended, as far as its parent can know."""
        with self._mutex:
            child = self._children.get(workspace_id)
        result = None
        if child is not None and child.pid == identity.pid:
            with suppress(ChildProcessError):
                result = os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return "ended while no supervisor watched"
        if result.si_code == os.CLD_EXITED:
            return f"exited with status {result.si_status}"
        return f"was killed by {signal.Signals(result.si_status).name}"

    def _python(self, files: Files) -> str:
        """The interpreter of the agent's own environment, if it has one."""
        virtualenv = self._virtualenv(files)
        return _base_python() if virtualenv is None else virtualenv.python

    def _virtualenv(self, files: Files) -> Virtualenv | None:
        """The environment that the files ask for. Raises Refused."""
        wanted = requirements.read(files)
        return Virtualenv(self.root.with_name("runtimes"), _base_python(), wanted) if wanted else None


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """What the system refuses has its reason in its message. It names files of ours, and no secret."""
    try:
        yield
    except BackendError:
        raise
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable("system_error", f"{type(error).__name__}: {error}") from error


def _note(folder: Folder) -> dict[str, Any] | None:
    """What was noted of what was started last and not stopped. Raises OSError, ValueError."""
    try:
        note = json.loads(folder.note.read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(note, dict) or not {"generation", "resource_id"} <= note.keys():
        raise ValueError(f"{folder.note} is no note")
    return note


def _resource(folder: Folder, note: Mapping[str, Any]) -> Resource:
    return Resource(
        workspace_id=UUID(folder.path.name),
        generation=int(note["generation"]),
        resource_id=str(note["resource_id"]),
        url=note.get("url"),
    )


def _noted(folder: Folder) -> Resource | None:
    note = _note(folder)
    return None if note is None else _resource(folder, note)


def _running(folder: Folder) -> Resource | None:
    noted = _noted(folder)
    if noted is None or not process_table.is_running(Identity.parse(noted.resource_id)):
        return None
    return noted


def _write_note(folder: Folder, started: Resource, *, began: bool) -> None:
    note = {"resource_id": started.resource_id, "generation": started.generation, "url": started.url, "began": began}
    folders.replace(folder.note, json.dumps(note).encode())


def _free_port() -> int:
    """Free now. If it is taken before the agent listens there, the agent fails, and its next attempt has another."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _address(port: int) -> dict[str, str]:
    """Where the agent listens, if it does."""
    return {"AGENT_HOST": HOST, "AGENT_PORT": str(port), "AGENT_URL": f"http://{HOST}:{port}"}


def _mark(folder: Folder) -> bytes:
    """By which its processes are known also when they left its session."""
    return f"CONFIGS_DIR={folder.configs}".encode()


def _base_environment(spec: Spec, folder: Folder, python: str) -> dict[str, str]:
    """What any program expects. Nothing of the platform's own environment, which holds its keys."""
    return {
        "PATH": os.pathsep.join([str(Path(python).parent), os.defpath]),
        "HOME": "/tmp" if spec.tier == 1 else str(folder.workspace),  # noqa: S108  # a private one, in the sandbox
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "CONFIGS_DIR": str(folder.configs),
    }


def _signal(leader: Identity, mark: bytes, number: signal.Signals, seconds: float) -> list[int]:
    """Signal all members, SIGKILL also those that are forked meanwhile; returns what is left after so many seconds."""
    deadline = time.monotonic() + seconds
    signalled: set[int] = set()
    while pids := process_table.members(leader, mark):
        process_table.send([pid for pid in pids if pid not in signalled], number, leader, mark)
        signalled |= set(pids)
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return pids


def _base_python() -> str:
    """The platform's own interpreter, or the system's where the agent's user cannot reach that one."""
    if os.geteuid() != 0 or _others_reach(Path(sys.executable)):
        return sys.executable
    return shutil.which(SYSTEM_PYTHON, path=os.defpath) or sys.executable


def _others_reach(path: Path) -> bool:
    """Whether any user may run it: also its link's target, and all folders above both."""
    with suppress(OSError):
        return all(each.stat().st_mode & 0o001 for one in {path, path.resolve()} for each in (one, *one.parents))
    return False


def _abort(child: "subprocess.Popen[bytes]") -> None:
    """It still waits at the gate, so nothing of the agent has run."""
    child.kill()
    if child.stdin is not None:
        child.stdin.close()
    child.wait()
