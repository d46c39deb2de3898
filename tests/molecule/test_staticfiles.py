"""What production serves as static files."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def served(tmp_path: Path, settings: Any) -> Path:
    settings.STATIC_ROOT = tmp_path
    backend = {"BACKEND": "molecule.staticfiles.ModuleStaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": backend}
    call_command("collectstatic", "--no-input", verbosity=0)
    return tmp_path


def test_our_scripts_are_served_without_comments_and_import_each_other_by_hash(served: Path):
    [script] = served.glob("canvas/js/main.????????????.js")
    source = (ROOT / "canvas/static/canvas/js/main.js").read_text()
    assert source.startswith("// ")
    code = script.read_text()
    assert not code.startswith("//")
    assert len(source) / 3 < len(code) < len(source)
    assert any(f'"./{store.name}"' in code for store in served.glob("canvas/js/store.????????????.js"))


def test_the_scripts_of_others_are_served_as_they_came(served: Path):
    [script] = served.glob("admin/js/core.????????????.js")
    assert "// " in script.read_text()
