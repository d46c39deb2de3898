"""pytest plugin: a private PostgreSQL and Redis for each process, started before Django reads its settings."""

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from molecule.embedded import running_postgres, running_redis
from tests import prepared
from tests.environment import SETTINGS

_stack = ExitStack()
atexit.register(_stack.close)
STATE = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-tests-")))
STATE.chmod(0o711)  # PostgreSQL runs as another user and passes through

os.environ.update(SETTINGS)
os.environ["DATABASE_URL"] = _stack.enter_context(running_postgres(STATE, fsync="off"))
os.environ["REDIS_URL"] = _stack.enter_context(running_redis(STATE))
# One for all workers, which have the environment of the process that starts them.
if prepared.VARIABLE not in os.environ:
    shared = STATE / "prepared"
    shared.mkdir(mode=0o711)
    os.environ[prepared.VARIABLE] = str(shared)
