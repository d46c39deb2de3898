"""Files as pages list them: by folder."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from django.template.defaultfilters import filesizeformat


def by_folder(
    sizes: Mapping[str, int], current: str, url: Callable[[str], str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """The files of each folder, "" first. `sizes`: bytes by path; `current`: the one that is open; `url` of a path."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, size in sizes.items():
        shown = {
            "name": PurePosixPath(path).name,
            "size": filesizeformat(size),
            "url": url(path),
            "is_current": path == current,
        }
        found.setdefault(str(PurePosixPath(path).parent).removeprefix("."), []).append(shown)
    return sorted(found.items())
