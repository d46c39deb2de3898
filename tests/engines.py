"""pytest plugin: a private PostgreSQL and Redis for the whole run, there before Django reads its settings."""

import atexit
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from molecule.embedded import running_postgres, running_redis

_stack = ExitStack()
atexit.register(_stack.close)
STATE = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="molecule-tests-")))
STATE.chmod(0o711)  # PostgreSQL runs as another user and passes through

SETTINGS = {
    "SECRET_KEY": "only for tests",
    "SECRETS_ENCRYPTION_KEY": "ab" * 32,
    "DEBUG": "true",  # no HTTPS on a test client; pytest-django turns the setting itself off
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "CORS_ORIGINS": "http://localhost:3000",
    "MOLECULE_READ_ENV_FILE": "false",
    "MOLECULE_OPEN": "false",
    "MOLECULE_ENROLMENT": "token",
    "RATE_LIMIT": "1000000",
    "RATE_LIMIT_HEARTBEATS": "1000000",
    "RATE_LIMIT_STRANGERS": "1000000",
    "LOG_LEVEL": "WARNING",
}
os.environ.update(SETTINGS)
os.environ["DATABASE_URL"] = _stack.enter_context(running_postgres(STATE))
os.environ["REDIS_URL"] = _stack.enter_context(running_redis(STATE))
