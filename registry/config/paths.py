"""The rule for paths of files: the same for uploads, templates, bundles and organisations."""

import unicodedata
from collections.abc import Collection

from registry.exceptions import Invalid

MAX_PATH = 512
MAX_DEPTH = 16
MAX_NAME_BYTES = 255
"""Of one part: the limit of file systems."""
RESERVED = ".auth_token"
"""In it the platform gives an agent its token."""
# Control, format (among them bidirectional), surrogates, and separators of lines and paragraphs.
REFUSED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
MAX_SHOWN = 80


def clean(path: str) -> str:
    """Return the path in NFC. Raises Invalid unless it is relative and normalised, with at most 512 characters and 16
    parts, and cannot leave its folder on any system."""
    normal = unicodedata.normalize("NFC", path)
    if problem := _problem(normal):
        raise Invalid(f"path {_shown(normal)}: {problem}", field="path")
    return normal


def check_together(paths: Collection[str]) -> None:
    """Raises Invalid if one of the paths is both a file and a folder."""
    known = set(paths)
    for path in sorted(known):
        folder = path.rpartition("/")[0]
        while folder:
            if folder in known:
                raise Invalid(f"path {_shown(path)}: {_shown(folder)} is a file, not a folder", field="path")
            folder = folder.rpartition("/")[0]


def _problem(path: str) -> str | None:
    if len(path) > MAX_PATH:
        return f"must have at most {MAX_PATH} characters, has {len(path)}"
    if "\\" in path or any(unicodedata.category(character) in REFUSED for character in path):
        return "must not contain backslashes, control or invisible characters"
    if path.startswith("/") or path[1:2] == ":":
        return "must be relative"
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        return f"must have at most {MAX_DEPTH} parts, has {len(parts)}"
    problems = (_problem_of_part(part) for part in parts)
    return next((problem for problem in problems if problem), None)


def _problem_of_part(part: str) -> str | None:
    if part.strip() in ("", ".", ".."):
        return "must not contain empty parts, . or .."
    if len(part.encode()) > MAX_NAME_BYTES:
        return f"each part must have at most {MAX_NAME_BYTES} bytes"
    return f"{RESERVED} is reserved" if part.casefold() == RESERVED else None


def _shown(path: str) -> str:
    printable = "".join(
        one if unicodedata.category(one) not in REFUSED else "\N{REPLACEMENT CHARACTER}" for one in path
    )
    return f'"{printable}"' if len(printable) <= MAX_SHOWN else f'"{printable[:MAX_SHOWN]}…"'
