"""Runs the tests of the browser's pure modules in Node, and limits the size of the scripts."""

import gzip
import shutil
import subprocess
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
SCRIPTS = [ROOT / "canvas/static/canvas/js", ROOT / "molecule/static/ui"]
MAX_BYTES = 34 * 1024


def test_the_javascript_tests_pass():
    node = shutil.which("node")
    assert node, "the tests of the canvas page need Node.js 20.19 or later: no `node` on PATH"
    command = [node, "--import", str(TESTS / "static_files.mjs"), "--test", *map(str, TESTS.glob("*.test.mjs"))]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "# tests 0" not in outcome.stdout, "no test was found"


def test_the_scripts_stay_below_the_size_limit():
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for folder in SCRIPTS for path in folder.glob("*.js")}
    assert 0 < sum(sizes.values()) <= MAX_BYTES, sizes
