"""Runs the tests of the browser's pure modules in Node, and limits the size of the scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from molecule.staticfiles import minified
from tests.scripts import sizes

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
SCRIPTS = [
    path.relative_to(ROOT)
    for face in ("canvas", "molecule", "registry")
    for path in ROOT.glob(f"{face}/static/**/*.js")
]
# The module that each face begins with, and what it may weigh, compressed: with all that it imports at once, and also
# with what it imports when a tab, a dialog or the palette is opened.
MAX_BYTES = {"canvas/js/main.js": (52 * 1024, 68 * 1024), "registry/admin.js": (16 * 1024, 18 * 1024)}


def node(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("node")
    assert program, "the tests of the canvas page need Node.js 20.19 or later: no `node` on PATH"
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def run_the_tests(**environment: str) -> None:
    outcome = node(
        "--import", str(TESTS / "static_files.mjs"), "--test", *map(str, TESTS.glob("*.test.mjs")), **environment
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "# tests 0" not in outcome.stdout, "no test was found"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts as production serves them."""
    folder = tmp_path_factory.mktemp("served")
    for script in SCRIPTS:
        copy = folder / script
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(minified((ROOT / script).read_text()))
    return folder


def test_the_javascript_tests_pass():
    run_the_tests()


def test_the_javascript_tests_pass_on_what_production_serves(served: Path):
    run_the_tests(SCRIPTS=str(served))


@pytest.mark.parametrize("face", MAX_BYTES)
def test_the_scripts_stay_below_the_size_limit(face: str):
    at_once, in_all = (sizes(face, with_later=later) for later in (False, True))
    assert 3 < len(at_once) <= len(in_all)
    assert sum(at_once.values()) <= MAX_BYTES[face][0], at_once
    assert sum(in_all.values()) <= MAX_BYTES[face][1], in_all
