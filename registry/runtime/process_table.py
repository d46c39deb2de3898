"""Processes of this host, as /proc shows them. A process is named by its number and its start, never by the number
alone: numbers are used again."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
DEAD_STATES = ("Z", "X")


@dataclass(frozen=True)
class Identity:
    """`started`: in ticks since the boot that `boot` names."""

    boot: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.boot}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """From str(). Raises ValueError."""
        boot, pid, started = text.split("-")
        return cls(boot, int(pid), int(started))


class _Stat(NamedTuple):
    state: str
    session: int
    started: int


def identify(pid: int) -> Identity | None:
    """The identity of a process, also of one that has ended and was not reaped; None if there is none."""
    found = _stat(pid)
    return None if found is None else Identity(_boot(), pid, found.started)


def is_running(identity: Identity) -> bool:
    """Whether exactly this process runs."""
    found = _stat(identity.pid)
    return found is not None and found.state not in DEAD_STATES and identify(identity.pid) == identity


def members(leader: Identity, mark: bytes) -> list[int]:
    """What runs in the session of `leader`, or with `mark` (NAME=value) in the environment that it was started with.

    The session counts only while its leader exists: later its number may be that of another one.
    """
    session = leader.pid if identify(leader.pid) == leader else None
    found = []
    for pid in _pids():
        stat = _stat(pid)
        if stat is None or stat.state in DEAD_STATES:
            continue
        if stat.session == session or mark in _environment(pid):
            found.append(pid)
    return found


def send(pids: list[int], number: signal.Signals, leader: Identity, mark: bytes) -> None:
    """Signal these, if they are still members. The descriptor holds the process: what was checked is what is hit."""
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                stat = _stat(pid)
                in_session = stat is not None and stat.session == leader.pid and identify(leader.pid) == leader
                if in_session or mark in _environment(pid):
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdecimal())


@cache
def _boot() -> str:
    return BOOT_ID.read_text().strip().partition("-")[0]


def _stat(pid: int) -> _Stat | None:
    """The name of a program may have spaces and brackets, so fields are counted behind the last bracket."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Stat(fields[0].decode(), int(fields[3]), int(fields[19]))


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []
