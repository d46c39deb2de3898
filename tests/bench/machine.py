"""The machine, and the CPU seconds of its processes from /proc, ended children included."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of each component and of the whole machine. `at`: time of the sample, or length of the interval."""

    parts: Mapping[str, float]
    busy: float
    at: float

    @classmethod
    def now(cls, roots: Mapping[str, int]) -> "Cpu":
        """`roots`: the root process of each component; its descendants count too."""
        children = _children()
        parts = {name: sum(_seconds(pid) for pid in _tree(pid, children)) for name, pid in roots.items()}
        return cls(parts, _busy(), time.monotonic())

    def since(self, earlier: "Cpu") -> "Cpu":
        parts = {name: seconds - earlier.parts.get(name, 0.0) for name, seconds in self.parts.items()}
        return Cpu(parts, self.busy - earlier.busy, self.at - earlier.at)

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def _tree(root: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    yield root
    for child in children.get(root, []):
        yield from _tree(child, children)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields:
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _seconds(pid: int) -> float:
    """User and system time of a process and of its children that ended."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICK if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may contain spaces; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _busy() -> float:
    """CPU seconds of the machine, without idle time and waiting for disks."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / TICK


def description() -> dict[str, str]:
    memory = int(_value("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024
    return {
        "CPU": f"{_value('/proc/cpuinfo', 'model name')}, {CORES} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def _value(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
