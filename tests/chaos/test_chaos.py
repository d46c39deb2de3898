"""The short form of `make chaos`: fewer of everything, and the acts that nothing else in the suite performs."""

from pathlib import Path

import pytest

from tests.chaos import acts
from tests.chaos.performance import perform
from tests.chaos.play import Size

SHORT = Size(agents=40, listeners=5, processes=1, interval=0.5, lease=5.0, sockets=0.2, dying=2)
SEED = 1


def test_nothing_is_lost_or_doubled_while_each_process_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perform(SHORT, SEED, tmp_path, acts.perform_all(acts.SHORT), print)
