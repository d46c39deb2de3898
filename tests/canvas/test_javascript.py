"""The browser's pure modules, in Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

TESTS = Path(__file__).parent


def test_pure_modules_behave():
    node = shutil.which("node")
    assert node, "the tests of the canvas page need Node.js 20.19 or later: no `node` on PATH"
    outcome = subprocess.run([node, "--test", str(TESTS)], capture_output=True, text=True, timeout=60)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "# tests 0" not in outcome.stdout, "no test was found"
