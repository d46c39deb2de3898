"""Folders of templates on the server: read without leaving them, within the limits of a workspace's files."""

import os
from pathlib import Path

from registry.config import paths
from registry.config.contents import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Content
from registry.exceptions import Invalid, NotFound, TooLarge

SKIPPED = frozenset((".git", "__pycache__", ".DS_Store"))


def children(folder: str, marker: str) -> dict[str, Path]:
    """The folders in this one that have the file `marker`, by name. None if the folder is missing."""
    root = Path(folder)
    if not root.is_dir():
        return {}
    return {
        one.name: one for one in sorted(root.iterdir()) if (one / marker).is_file() and not one.name.startswith(".")
    }


def read_all(folder: Path) -> dict[str, Content]:
    """Every file below the folder. Raises Invalid for a link, TooLarge, and NotFound if there is no such folder."""
    if not folder.is_dir():
        raise NotFound("no such folder")
    found: dict[str, Content] = {}
    total = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(set(names) - SKIPPED):
            file = Path(parent, name)
            path = paths.clean(file.relative_to(folder).as_posix())
            found[path] = read(file, shown=path)
            total += len(found[path].data)
            if len(found) > MAX_FILES or total > MAX_TOTAL_BYTES:
                raise TooLarge(f"{folder.name}: has more than {MAX_FILES:,} files or 16 MiB")
    return found


def read(file: Path, *, shown: str) -> Content:
    """The content of a file, called `shown` in errors. Raises Invalid for a link, TooLarge."""
    if file.is_symlink() or not file.is_file():
        raise Invalid(f"{shown}: is not a file", field="path")
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"{shown}: must not be larger than 1 MiB")
    return Content(data, executable=os.access(file, os.X_OK))


def inside(root: Path, path: str, *, base: Path | None = None) -> Path:
    """The file or folder that `path`, relative to `base` (`root` by default), names. Raises Invalid if that is outside
    of `root`, also by links."""
    found = ((base or root) / path).resolve()
    if "\0" in path or Path(path).is_absolute() or not found.is_relative_to(root.resolve()):
        raise Invalid(f"{path}: is outside of the template's folder", field="path")
    return found
