"""`make chaos`: 500 agents, 20 clients on `/ws`, and a fault in every process in turn. SEED=n repeats a run."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from molecule import embedded
from tests.chaos import faults
from tests.chaos.experiment import Size
from tests.chaos.run import run

FULL = Size(agents=500, listeners=20, processes=2, interval=2.0, lease=8.0, sockets=0.2, dying=5)

FAULTS = {fault.__name__: fault for fault in faults.ALL}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--agents", type=int, default=FULL.agents)
    parser.add_argument("--faults", nargs="+", metavar="FAULT", choices=sorted(FAULTS), default=list(FAULTS))
    options = parser.parse_args()
    embedded.exit_on_signals()
    size = Size(**{**vars(FULL), "agents": options.agents})
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"chaos {time.monotonic() - began:5.1f} s: {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="molecule-chaos-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another user and passes through
        try:
            run(size, options.seed, Path(folder), faults.inject_all([FAULTS[name] for name in options.faults]), say)
        except AssertionError as error:
            print(f"chaos: {error}", file=sys.stderr)
            return 1
    say("passed: nothing was lost, duplicated or wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
