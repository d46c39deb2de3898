"""How a process starts."""

import subprocess
import sys

START = """
import gc
import django
from molecule import settings
before = gc.get_stats()[0]["collections"]
django.setup()
print(gc.get_stats()[0]["collections"] - before, gc.isenabled())
"""


def test_garbage_is_collected_only_when_all_is_imported() -> None:
    """Importing everything is three hundred collections otherwise."""
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    collections, enabled = done.stdout.split()
    assert int(collections) < 150
    assert enabled == "True"
