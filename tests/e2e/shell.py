"""Commands as a person gives them in a terminal: one block after another, and Ctrl-C."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tests.e2e.stack import until


class Shell:
    """One bash that runs block after block, as a person would in one terminal. It ends at the first error."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.output = ""
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-euo", "pipefail"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def run(self, text: str, *, enough: Callable[[str], bool] | None = None) -> str:
        """Runs a block and returns its output. `enough`: when this is true of the output, Ctrl-C ends the command that
        runs; only the block's last command must then end well."""
        start, end = len(self.output), f"end of {uuid4()}"
        file = self.folder / f"block-{uuid4()}"
        file.write_text(text)
        assert self.process.stdin is not None
        self.process.stdin.write(f". {file} </dev/null{' || exit' if enough else ''}\necho; echo {end}\n")
        self.process.stdin.flush()
        if enough is not None:
            until(lambda: enough(self.output[start:]) or self._ended, f"enough output of {text}\n{self.output[start:]}")
            interrupt(self.process.pid)
        until(lambda: end in self.output[start:] or self._ended, f"the end of {text}")
        assert not self._ended, f"{text}\nfailed:\n{self.output[start:]}"
        return self.output[start:].partition(end)[0]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.reader.join()
        self.process.stdout.close()

    @property
    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output += line


@contextmanager
def running(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A command that runs until Ctrl-C."""
    process = subprocess.Popen(["bash", "-euc", command], cwd=folder, env=environment, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def interrupt(shell: int) -> None:
    """Ctrl-C, for everything that this shell has started."""
    for pid in _descendants(shell):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def _descendants(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in path.read_text().split()] if path.exists() else []
    return children + [each for child in children for each in _descendants(child)]
