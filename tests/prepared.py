"""A PostgreSQL that is migrated and has an operator, made once for all processes of a test run, and copied for each
platform that a test starts."""

import atexit
import fcntl
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from molecule.embedded import database_urls, running_postgres, running_redis
from tests.environment import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
# Where it is, for the workers of a run: tests/engines.py sets it.
VARIABLE = "MOLECULE_TESTS_PREPARED"
CREATE_OPERATOR = """
import os
from django.contrib.auth.models import User
from registry.identity.tokens import issue_operator_token
print(issue_operator_token(User.objects.create_superuser("op", "", os.environ["OP_PASSWORD"])))
"""


@dataclass(frozen=True)
class Operator:
    """The superuser of every copy."""

    username: str
    password: str
    token: str


def copy_to(state: Path) -> Operator:
    """Puts the data of a stopped PostgreSQL where running_postgres(state) looks for them."""
    shared = _folder()
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "operator").exists():
            _make(shared)
    subprocess.run(["cp", "-a", "--reflink=auto", shared / "postgres", state], check=True)
    return Operator(*(shared / "operator").read_text().split())


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Runs manage.py and returns its output."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


@cache
def _folder() -> Path:
    if given := os.environ.get(VARIABLE):
        return Path(given)
    folder = tempfile.TemporaryDirectory(prefix="molecule-prepared-")
    atexit.register(folder.cleanup)
    path = Path(folder.name)
    path.chmod(0o711)  # PostgreSQL runs as another user and passes through
    return path


def _make(folder: Path) -> None:
    with running_postgres(folder) as url, running_redis(folder) as redis_url:
        password = uuid4().hex
        environment = {**os.environ, **SETTINGS, **database_urls(url), "REDIS_URL": redis_url, "OP_PASSWORD": password}
        manage(environment, "migrate", "-v0")
        token = manage(environment, "shell", "-v0", "-c", CREATE_OPERATOR).strip()
    if VARIABLE in os.environ:
        # No test takes the power away, so none needs to wait for the disk. Benchmarks do.
        with (folder / "postgres" / "postgresql.conf").open("a") as configuration:
            configuration.write("fsync = off\n")
    (folder / "operator").write_text(f"op {password} {token}")
