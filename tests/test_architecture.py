"""The documents match the code: rooms and their imports, names of files and functions, docstrings, the glossary."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = ROOT / "registry"
TEXT = (ROOT / "docs" / "architecture.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A file by its path from the root; globs and folders are not files.
FILE_PATH = re.compile(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|sql|js|mjs|css|html))`")
SOURCE_PATH = re.compile(r"\b((?:activity|canvas|docs|examples|molecule|registry|tests)/[\w/-]+\.(?:py|md))\b")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
LONGEST_INIT = 3
Walk = tuple[str, str]


def layers() -> list[list[str]]:
    """The rooms as pyproject.toml has them for import-linter, from top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("containers") == ["registry"]]
    return [layer.split(" | ") for layer in contract["layers"]]


def rooms() -> list[str]:
    return [room for layer in layers() for room in layer]


def packages() -> list[Path]:
    """The rooms that are packages of code."""
    found = [REGISTRY / room for room in rooms() if (REGISTRY / room).is_dir()]
    return [folder for folder in found if folder.name != "migrations"]


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str) -> list[list[str]]:
    """The cells of the one table in a text, without its header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def names(body: list[ast.stmt], prefix: str = "") -> dict[str, Any]:
    """Functions and classes of a module by their qualified names, methods included."""
    found: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[prefix + node.name] = node
            if isinstance(node, ast.ClassDef):
                found |= names(node.body, f"{prefix}{node.name}.")
    return found


def steps() -> list[Walk]:
    walked = [*table(section("A heartbeat, step by step")), *table(section("A PATCH, step by step"))]
    return [(file.strip("`"), function.strip("`")) for _, file, function, _ in walked]


def test_the_table_of_rooms_is_what_the_import_linter_allows() -> None:
    written = {room.strip("`"): re.findall(r"`(\w+)`", allowed) for room, _, allowed in table(section("Rooms"))}
    order = layers()
    allowed = {
        room: [below for lower in order[height + 1 :] for below in lower]
        for height, layer in enumerate(order)
        for room in layer
    }
    assert written == allowed


def test_every_room_owns_something() -> None:
    assert [room for room, owns, _ in table(section("Rooms")) if not owns] == []


def test_the_picture_has_every_room() -> None:
    picture = section("Rooms").split("```mermaid\n")[1].split("```")[0]
    assert set(rooms()) - set(re.findall(r"\w+", picture)) == set()


@pytest.mark.parametrize(("file", "function"), steps())
def test_each_step_names_a_function_that_exists(file: str, function: str) -> None:
    assert function in names(parsed(ROOT / file).body)


def test_the_glossary_is_sorted_and_has_each_term_once() -> None:
    terms = [term.lower() for term, *_ in table((ROOT / "docs" / "glossary.md").read_text())]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    linked = [page.parent / target for target in LINK.findall(text)]
    named = [ROOT / path for path in FILE_PATH.findall(text)]
    assert [str(path) for path in [*linked, *named] if not path.exists()] == []


@pytest.mark.parametrize("folder", ["activity", "canvas", "examples", "molecule", "registry", "tests"])
def test_every_file_that_the_code_names_exists(folder: str) -> None:
    found = {path: SOURCE_PATH.findall(path.read_text()) for path in sorted((ROOT / folder).rglob("*.py"))}
    names_of_files = [(path.relative_to(ROOT), name) for path, named in found.items() for name in named]
    assert [f"{path}: {name}" for path, name in names_of_files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("room", packages(), ids=lambda folder: folder.name)
def test_a_room_says_what_it_owns_in_a_few_lines(room: Path) -> None:
    text = ast.get_docstring(parsed(room / "__init__.py"))
    assert text
    assert len(text.splitlines()) <= LONGEST_INIT


@pytest.mark.parametrize("room", packages(), ids=lambda folder: folder.name)
def test_the_public_names_of_a_room_have_docstrings(room: Path) -> None:
    assert [missing for path in sorted(room.rglob("*.py")) for missing in undocumented(path)] == []


def undocumented(path: Path) -> list[str]:
    """The public functions and classes without a docstring, and the module itself if it has none."""
    module = parsed(path)
    where = path.relative_to(ROOT)
    public = {name: node for name, node in names(module.body).items() if "." not in name and not name.startswith("_")}
    silent = [f"{where}: {name}" for name, node in public.items() if not ast.get_docstring(node)]
    is_empty = not module.body
    return silent if is_empty or ast.get_docstring(module) else [str(where), *silent]
