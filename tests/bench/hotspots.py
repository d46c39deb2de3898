"""Where the CPU time of the web process goes: a sampling profiler for all threads, used under load.

    python -m tests.bench.hotspots FILE MODULE ARGUMENT …   # runs the module, writes the profile to FILE at its end

SIGUSR1 clears the profile. Every few milliseconds the CPU time that each thread has used since the last sample is
added to the function it is in.
"""

import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from molecule.run import WEB
from tests.bench import load
from tests.bench.bench import WARM_UP_SECONDS, Bench, Load, serving

SAMPLE_SECONDS = 0.002
SHOWN = 12
OURS = ("activity/", "registry/", "canvas/", "molecule/")


def profile(bench: Bench, what: Load) -> list[str]:
    """Markdown lines: the functions that use most CPU time under this load."""
    file = bench.platform.state / "profile"
    file.unlink(missing_ok=True)
    command = [WEB[0], "-m", "tests.bench.hotspots", str(file), *WEB[WEB.index("-m") + 1 :]]
    with serving(bench, command=command) as server:
        load.run(server.url, what.requests, connections=what.connections, seconds=WARM_UP_SECONDS)
        os.kill(server.pid, signal.SIGUSR1)
        load.run(server.url, what.requests, connections=what.connections, seconds=bench.seconds)
    found = Counter({tuple(key): count for key, count in json.loads(file.read_text())})
    total = found.total() or 1
    lines = ["| CPU of web | in | for |", "|---|---|---|"]
    for (inner, ours), count in found.most_common(SHOWN):
        lines.append(f"| {count / total:.0%} | `{inner}` | `{ours}` |")
    return lines


class Sampler(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.found: Counter[tuple[str, str]] = Counter()
        self.spent: dict[int, int] = {}

    def run(self) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)
            natives = {thread.ident: thread.native_id for thread in threading.enumerate() if thread is not self}
            for ident, frame in sys._current_frames().items():
                if native := natives.get(ident):
                    self._add(native, frame)

    def _add(self, native: int, frame: FrameType) -> None:
        spent = _nanoseconds(native)
        new = spent - self.spent.get(native, spent)
        self.spent[native] = spent
        if new:
            self.found[_name(frame), _ours(frame)] += new


def _nanoseconds(native: int) -> int:
    try:
        return int(Path(f"/proc/self/task/{native}/schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _name(frame: FrameType) -> str:
    parts = Path(frame.f_code.co_filename).with_suffix("").parts[-2:]
    return f"{'.'.join(parts)}.{frame.f_code.co_qualname}"


def _ours(frame: FrameType | None) -> str:
    """The innermost function of the product on the stack; empty if there is none."""
    root = str(Path(__file__).resolve().parents[2])
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(root) and path[len(root) + 1 :].startswith(OURS):
            return _name(frame)
        frame = frame.f_back
    return ""


def main(file: str, module: str, *arguments: str) -> None:
    sampler = Sampler()
    sampler.start()
    # With the default switch interval, samples would mostly see threads that release the interpreter themselves.
    sys.setswitchinterval(SAMPLE_SECONDS / 10)
    signal.signal(signal.SIGUSR1, lambda *_: sampler.found.clear())
    # At its end uvicorn sends itself the signal that stopped it again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(json.dumps([[key, count] for key, count in sampler.found.items()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
