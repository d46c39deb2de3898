"""`make bench`: how fast Molecule is on this machine, compared with a naive view and with PostgreSQL and Redis alone.

python -m tests.bench [PART …] [--workspaces N] [--seconds N] [--report FILE]
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from molecule import embedded
from tests.bench import (
    activity,
    admin,
    batches,
    broadcast,
    bundles,
    canvas,
    discover,
    heartbeats,
    hotspots,
    lists,
    offline,
    prune,
    report,
    sockets,
)
from tests.bench.bench import Bench, prepared
from tests.bench.load import Unavailable
from tests.bench.table import HEAD, Figure, line
from tests.e2e.stack import manage

PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "heartbeats": heartbeats.measure,
    "sockets": sockets.measure,
    "batches": batches.measure,
    "activity": activity.measure,
    "discover": discover.measure,
    "list": lists.measure,
    "fanout": broadcast.measure,
    "offline": offline.measure,
    "canvas": canvas.measure,
    "prune": prune.measure,
    "bundles": bundles.measure,
    "admin": admin.measure,
}


def main() -> int:
    options = _options()
    embedded.exit_on_signals()
    with prepared(options.workspaces, options.seconds, _say) as bench:
        print(line(HEAD), flush=True)
        profiles: dict[str, list[str]] = {}
        figures = list(_measured(bench, options.parts or list(PARTS), profiles if options.report else None))
        replayed = _replay(bench)
        _say(replayed)
        if options.report:
            options.report.write_text(report.text(bench, figures, profiles, replayed))
    return 0


def _measured(bench: Bench, parts: Sequence[str], profiles: dict[str, list[str]] | None) -> Iterator[Figure]:
    """Print and yield each figure. `profiles`, if given, gets a CPU profile for each figure that misses its target."""
    for name in parts:
        try:
            for figure in PARTS[name](bench):
                print(line(figure.cells()), flush=True)
                if profiles is not None and figure.missed and figure.what in bench.loads:
                    _say(f"profiling: {figure.what}")
                    profiles[figure.what] = hotspots.profile(bench, bench.loads[figure.what])
                yield figure
        except Unavailable as missing:
            _say(f"{name}: {missing}")


def _replay(bench: Bench) -> str:
    """Check that nothing was lost. Raises CalledProcessError if the log and the tables differ."""
    return manage(bench.platform.environment, "rebuild", "--check").strip().splitlines()[-1]


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--workspaces", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each figure is measured")
    parser.add_argument("--report", type=Path, help="where the report is written; only with all parts")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
