"""pytest plugin: a private PostgreSQL and Redis for each process, started before Django reads its settings."""

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from molecule.embedded import running_postgres, running_redis
from tests.environment import SETTINGS

_stack = ExitStack()
atexit.register(_stack.close)
STATE = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-tests-")))
STATE.chmod(0o711)  # PostgreSQL runs as another user and passes through

os.environ.update(SETTINGS)
os.environ["DATABASE_URL"] = _stack.enter_context(running_postgres(STATE))
os.environ["REDIS_URL"] = _stack.enter_context(running_redis(STATE))
