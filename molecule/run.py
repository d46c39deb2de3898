"""`make run`: everything on one machine, in the foreground: engines, migrations, an operator, web and supervisor.

All processes that it starts stop with it, however it ends. When one of them ends, all do, with status 1.
All state is in one folder, MOLECULE_STATE or .molecule/.
"""

import errno
import fcntl
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NoReturn

import environ
import httpx

from molecule import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("MOLECULE_STATE") or BASE_DIR / ".molecule").resolve()
PYTHON = sys.executable
MANAGE = str(BASE_DIR / "manage.py")
WEB = [PYTHON, "-m", "uvicorn", "molecule.asgi:application", "--log-level", "warning", "--no-access-log"]
WEB += ["--ws", "molecule.sockets:Sockets", "--ws-per-message-deflate", "false", "--ws-max-size", "1048576"]
WEB += ["--ws-ping-interval", "20", "--ws-ping-timeout", "20"]
# No proxy headers: settings.PROXY_SCHEME and PROXY_ADDRESSES decide which are trusted.
WEB += ["--timeout-graceful-shutdown", "5", "--no-proxy-headers", "--no-server-header"]
SUPERVISOR = [PYTHON, MANAGE, "supervise"]
START_SECONDS = 60.0
TAIL_LINES = 15
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class CannotRun(Exception):
    """The message says why, for the person who typed the command."""


def main() -> int:
    embedded.exit_on_signals(0)
    try:
        STATE.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with _only_one() as lock:
            _read_env_file()
            host, port = _address()
            lock.write(address_of(host, port))
            lock.flush()
            _check_free(host, port)
            _serve(host, port)
    except (CannotRun, embedded.EngineFailed) as error:
        print(f"molecule: {error}", file=sys.stderr)
        return 1
    return 0


def address_of(host: str, port: int) -> str:
    """The URL for a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def running_at(state: Path = STATE) -> str | None:
    """The URL of the platform that runs on this state; None when none runs."""
    try:
        with (state / "lock").open() as lock:
            if _locked(lock.fileno()):
                return None
            return lock.read().strip() or None
    except FileNotFoundError:
        return None


def _read_env_file() -> None:
    """Writes the file on the first start. Variables that are set already win over it."""
    if not environ.FileAwareEnv().bool("MOLECULE_READ_ENV_FILE", True):
        return
    path = STATE / "env"
    if not path.exists():
        keys = {"SECRET_KEY": secrets.token_urlsafe(48), "SECRETS_ENCRYPTION_KEY": secrets.token_hex(32)}
        lines = [f"{name}={value}\n" for name, value in (keys | {"DEBUG": "true"}).items()]
        _write_private(
            path,
            "".join(
                ["# Made by the first `make run`. Keep it: stored secrets cannot be read without its key.\n", *lines]
            ),
        )
    environ.FileAwareEnv.read_env(path)


def _address() -> tuple[str, int]:
    env = environ.FileAwareEnv()
    port = env.str("PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotRun(f"PORT must be a number from 1 to 65535, not {port!r}")
    return env.str("HOST", "127.0.0.1"), int(port)


@contextmanager
def _only_one() -> Iterator[IO[str]]:
    """Holds the state's lock, a file with our URL. The kernel releases it also when we are killed."""
    with (STATE / "lock").open("a+") as lock:
        if not _locked(lock.fileno()):
            lock.seek(0)
            raise CannotRun(f"already running at {lock.read().strip()} (state in {STATE}); Ctrl-C there stops it")
        lock.truncate(0)
        yield lock


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_free(host: str, port: int) -> None:
    """Raises CannotRun. A web process whose runner was killed a moment ago gets a second to close its socket."""
    deadline = time.monotonic() + 1
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            if taken and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            hint = (
                f"port {port} is taken: use another, PORT={port + 1} make run"
                if taken
                else f"{host}:{port}: {error.strerror}"
            )
            raise CannotRun(hint) from None


def _serve(host: str, port: int) -> None:
    with ExitStack() as stack:
        _say("starting PostgreSQL and Redis")
        urls = stack.enter_context(embedded.engines(STATE))
        environment = os.environ | urls | {"HOST": host, "PORT": str(port), "MOLECULE_STATE": str(STATE)}
        for name, text in _client_files(urls).items():
            stack.enter_context(_private_file(STATE / name, text))
        _say("migrating the database")
        _manage(environment, "migrate", "--verbosity", "0")
        created = _create_operator(environment)
        _say("starting web and supervisor")
        supervisor = stack.enter_context(_child("supervisor", SUPERVISOR, environment))
        web = stack.enter_context(_child("web", [*WEB, "--host", host, "--port", str(port)], environment))
        _wait_until_it_answers(address_of(host, port), web)
        print(_banner(host, port, created=created), flush=True)
        stack.callback(_say, "stopping")
        _watch([supervisor, web])


def _client_files(urls: Mapping[str, str]) -> dict[str, str]:
    """How programs called by hand find the running engines: manage.py reads `engines`, a shell `postgres-env`."""
    files = {"engines": "".join(f"{name}={url}\n" for name, url in urls.items())}
    if "DATABASE_OWNER_URL" in urls:  # PostgreSQL is embedded
        variables = embedded.administrator_environment(STATE).items()
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in variables]
        files["postgres-env"] = "".join([f'export PATH={shlex.quote(str(embedded.POSTGRES))}:"$PATH"\n', *exports])
    return files


@contextmanager
def _private_file(path: Path, text: str) -> Iterator[None]:
    """A file that exists while the engines run."""
    _write_private(path, text)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _manage(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        [PYTHON, MANAGE, *arguments], env=environment, cwd=BASE_DIR, capture_output=True, text=True
    )
    if done.returncode:
        raise CannotRun(f"manage.py {arguments[0]} failed:\n{_last(done.stderr)}")
    return done.stdout


def _create_operator(environment: Mapping[str, str]) -> bool:
    """True when there was no operator before."""
    return bool(_manage(environment, "create_operator", "--into", str(STATE)).strip())


class Child:
    """A process whose output is printed line by line, prefixed with its name."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.process = process
        self.last: deque[str] = deque(maxlen=TAIL_LINES)
        self.reader = threading.Thread(target=self._pass_on, name=f"output of {name}")
        self.reader.start()

    def _pass_on(self) -> None:
        for line in self.process.stdout or ():
            text = line.decode(errors="replace").rstrip()
            self.last.append(text)
            print(f"{self.name}: {text}", flush=True)

    def ending(self) -> str:
        """Waits for the process; how it ended and its last lines."""
        status = self.process.wait()
        self.reader.join(1)
        return ending(self.name, status, self.last)


def ending(name: str, status: int, output: Iterable[str]) -> str:
    """How a process ended; `status` as in Popen.returncode, negative for a signal."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    lines = [f"  {line}" for line in output]
    return "\n".join([f"{name} {how}. " + ("Its last lines:" if lines else "It had printed nothing."), *lines])


@contextmanager
def _child(name: str, command: list[str], environment: Mapping[str, str]) -> Iterator[Child]:
    with embedded.process(
        command, stop_signal="TERM", output=subprocess.PIPE, cwd=BASE_DIR, environment=environment
    ) as process:
        yield Child(name, process)


def _wait_until_it_answers(address: str, web: Child) -> None:
    """Raises CannotRun when it ends or takes longer than START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while web.process.poll() is None:
        try:
            httpx.get(f"{address}/health", timeout=2)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise CannotRun(f"web does not answer at {address}/health") from None
            time.sleep(0.1)
        else:
            return
    raise CannotRun(web.ending())


def _watch(children: list[Child]) -> NoReturn:
    """Waits until any process that we started ends, and raises CannotRun. A signal ends the wait with SystemExit."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    if ended is None:
        raise CannotRun("no process is left")
    for child in children:
        if child.process.pid == ended.si_pid:
            raise CannotRun(child.ending())
    engine = Path(f"/proc/{ended.si_pid}/comm").read_text().strip().partition("-")[0]
    status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    raise CannotRun(ending(engine, status, embedded.tail(STATE / f"{engine}.log").splitlines()))


def _banner(host: str, port: int, *, created: bool) -> str:
    address = address_of(host, port)
    operator = _fields(STATE / "operator")
    lines = ["", f"Molecule runs at {address}", "", f"  canvas    {address}/", f"  admin     {address}/admin/"]
    lines.append(f"  API docs  {address}/api/docs")
    if operator:
        password = operator["password"] if created else f"as in {_shown(STATE / 'operator')}"
        lines += ["", f"  username  {operator['username']}", f"  password  {password}"]
    lines += ["", f"  state     {_shown(STATE)} (password in operator, API token in operator-token)"]
    if host not in LOOPBACK:
        lines.append(
            f"  note      others can reach HOST={host}: set ALLOWED_HOSTS to the names they use, and DEBUG=false"
        )
    return "\n".join([*lines, "  try       make demo", "  stop      Ctrl-C", ""])


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _write_private(path: Path, text: str) -> None:
    """Atomically: a reader sees all of it or nothing."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.rename(path)


def _say(what: str) -> None:
    print(f"molecule: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
