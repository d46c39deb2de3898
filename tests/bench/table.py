"""The table of figures: line by line on the console, and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = (
    "measured",
    "figure",
    "target",
    "CPU of all",
    "of it",
    "p50 / p99",
    "kB, cold",
    "client",
    "others",
    "naive",
    "PostgreSQL",
    "Redis",
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. A missing value is an empty cell.

    `target` is the minimum for `value`, or the maximum if `at_most`. `cpu_ms` is the CPU time of all server processes
    per unit, `shares` how it is divided; `kilobytes` is what a browser without a cache loads, compressed; `client` is
    the share of a core that the client used, `unrelated` that of other processes. `naive`, `postgres` and `redis` are
    what the naive view, PostgreSQL and Redis reached in the same run, in the same unit.
    """

    what: str
    value: float
    unit: str = "/s"
    target: float | None = None
    at_most: bool = False
    cpu_ms: float | None = None
    cpu_target_ms: float | None = None
    shares: str = ""
    latency_ms: tuple[float, float] | None = None
    kilobytes: float | None = None
    most_kilobytes: float | None = None
    client: float | None = None
    unrelated: float | None = None
    naive: float | None = None
    postgres: float | None = None
    redis: float | None = None
    note: str = ""

    @property
    def missed(self) -> list[str]:
        """The targets that were missed, as sentences."""
        found = []
        if self.target is not None and (self.value > self.target if self.at_most else self.value < self.target):
            found.append(f"{self.what}: {number(self.value)} {self.unit}, target {self._target()}")
        if self.cpu_ms is not None and self.cpu_target_ms is not None and self.cpu_ms > self.cpu_target_ms:
            found.append(f"{self.what}: {self.cpu_ms:.3f} ms of CPU each, target ≤ {self.cpu_target_ms:g} ms")
        if self.kilobytes is not None and self.most_kilobytes is not None and self.kilobytes > self.most_kilobytes:
            found.append(f"{self.what}: {self.kilobytes:.0f} kB, target ≤ {self.most_kilobytes:g} kB")
        return found

    def cells(self) -> list[str]:
        cpu = "" if self.cpu_ms is None else f"{self.cpu_ms:.3f} ms"
        if self.cpu_target_ms is not None:
            cpu += f" (≤ {self.cpu_target_ms:g})"
        return [
            self.what,
            f"{number(self.value)} {self.unit}",
            self._target(),
            cpu,
            self.shares,
            "" if self.latency_ms is None else "{:.1f} / {:.1f} ms".format(*self.latency_ms),
            self._weight(),
            "" if self.client is None else f"{self.client:.0%}",
            "" if self.unrelated is None else f"{self.unrelated:.0%}",
            *(_ratio(self.value, other) for other in (self.naive, self.postgres, self.redis)),
        ]

    def _weight(self) -> str:
        if self.kilobytes is None:
            return ""
        return f"{self.kilobytes:.0f}" + ("" if self.most_kilobytes is None else f" (≤ {self.most_kilobytes:g})")

    def _target(self) -> str:
        if self.target is None:
            return ""
        return f"{'≤' if self.at_most else '≥'} {number(self.target)}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float, other: float | None) -> str:
    return "" if not other else f"{value / other:.2f}"


def line(cells: Sequence[str], widths: Sequence[int] = (48, 11, 9, 18, 38, 18, 10, 6, 6, 6, 10, 6)) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def markdown(figures: Sequence[Figure]) -> str:
    rows = [HEAD, ("---",) * len(HEAD), *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
