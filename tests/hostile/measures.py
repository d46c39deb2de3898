"""A server seen from outside: its memory, and how long it takes to answer an agent that behaves well."""

import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

import httpx

from tests.e2e.stack import Agent

MEBIBYTE = 1024 * 1024
PAUSE_SECONDS = 0.02


def memory(pid: int) -> int:
    """Bytes that the process holds in memory now."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


class PeakMemory:
    """The most memory that a process held while this was entered, over what it held before. In bytes."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.idle = self.peak = memory(pid)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    @property
    def grown(self) -> int:
        return self.peak - self.idle

    def __enter__(self) -> "PeakMemory":
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.02):
            self.peak = max(self.peak, memory(self.pid))


class Pulse:
    """An agent that sends heartbeats one after the other while this is entered."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.seconds: list[float] = []
        self.answers: Counter[int] = Counter()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    @property
    def typical(self) -> float:
        """The median of the seconds that a heartbeat took."""
        return statistics.median(self.seconds)

    def __enter__(self) -> "Pulse":
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.agent.token}"}
        with httpx.Client(base_url=self.agent.url, headers=headers, timeout=60) as client:
            while not self.over.wait(PAUSE_SECONDS):
                began = time.monotonic()
                answer = client.post("/registry/heartbeat", json={"workspace_id": self.agent.id})
                self.seconds.append(time.monotonic() - began)
                self.answers[answer.status_code] += 1


def typical_beat(agent: Agent, seconds: float) -> float:
    """The median seconds of a heartbeat, measured for a while."""
    with Pulse(agent) as pulse:
        time.sleep(seconds)
    return pulse.typical
