"""`make chaos`: 500 agents, 20 listening clients, and every process struck down in turn. SEED=n repeats one."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from molecule import embedded
from tests.chaos import acts
from tests.chaos.performance import perform
from tests.chaos.play import Size

FULL = Size(agents=500, listeners=20, processes=2, interval=2.0, lease=8.0, sockets=0.2, dying=5)

ACTS = {act.__name__: act for act in acts.ALL}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--agents", type=int, default=FULL.agents)
    parser.add_argument("--acts", nargs="+", metavar="ACT", choices=sorted(ACTS), default=list(ACTS))
    options = parser.parse_args()
    embedded.exit_on_signals()
    size = Size(**{**vars(FULL), "agents": options.agents})
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"chaos {time.monotonic() - began:5.1f} s: {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="molecule-chaos-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another user and passes through
        try:
            perform(size, options.seed, Path(folder), acts.perform_all([ACTS[name] for name in options.acts]), say)
        except AssertionError as wrong:
            print(f"chaos: {wrong}", file=sys.stderr)
            return 1
    say("nothing was lost, doubled or wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
