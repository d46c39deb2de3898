"""A short `make chaos`: a smaller system, and the faults that no other test injects."""

from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.experiment import Size
from tests.chaos.run import run

SHORT = Size(agents=40, listeners=5, processes=1, interval=0.5, lease=5.0, sockets=0.2, dying=2)
SEED = 1


def test_nothing_is_lost_or_doubled_while_each_process_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(SHORT, SEED, tmp_path, faults.inject_all(faults.SHORT), print)
