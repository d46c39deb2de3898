"""Supervisors that are killed at one point of their work: python -m tests.registry.runtime.killed

Each line of the input is STATE MODULE NAME WHEN, and the answer to it the signal that ended the supervisor. The
function or method NAME (`Class.method`) of MODULE is replaced by one that kills the process before or after it.
"""

import os
import signal
import sys
import time
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn

import django
from django.conf import settings

SECONDS = 30.0


def main() -> None:
    """Forks, because that takes less time than to begin anew."""
    django.setup()
    import_module("registry.runtime.job")
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            supervise(*line.split())
        _, status = os.waitpid(pid, 0)
        print(os.WTERMSIG(status), flush=True)


def supervise(state: str, module: str, name: str, when: str) -> NoReturn:
    settings.STATE_DIR = Path(state)
    *owners, last = name.split(".")
    owner: Any = attrgetter(".".join(owners))(import_module(module)) if owners else import_module(module)
    original = getattr(owner, last)

    def deadly(*arguments: Any, **named: Any) -> NoReturn:
        if when == "after":
            original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    setattr(owner, last, deadly)
    backend = import_module("registry.runtime.backends").configured()
    reconciliation = import_module("registry.runtime.job").Reconciliation(backend, rest=lambda _: time.sleep(0.05))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        reconciliation.step()
    os._exit(0)


if __name__ == "__main__":
    main()
