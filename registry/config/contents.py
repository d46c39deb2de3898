"""Contents of files as values: bytes, their hash, and their form in JSON."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.config import agent_config, paths
from registry.exceptions import Invalid, TooLarge

MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 16 * 1024 * 1024
MAX_FILES = 1000
BASE64 = "base64"
PLAIN_MODE = 0o644
EXECUTABLE_MODE = 0o755


@dataclass(frozen=True)
class Content:
    """The content of a file, and whether it may be executed."""

    data: bytes = field(repr=False)
    executable: bool = False

    @property
    def sha256(self) -> str:
        """The hash in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def mode(self) -> int:
        """The mode as in a file system."""
        return EXECUTABLE_MODE if self.executable else PLAIN_MODE

    @property
    def text(self) -> str | None:
        """The text; None for what is not UTF-8, or has a NUL, which JSON in PostgreSQL cannot have."""
        try:
            text = self.data.decode()
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text


Files = Mapping[str, Content]
"""Contents by path."""


def as_json(content: Content) -> dict[str, str]:
    """`{"content"}`, with `"encoding":"base64"` for what is no text."""
    text = content.text
    if text is not None:
        return {"content": text}
    return {"content": base64.b64encode(content.data).decode(), "encoding": BASE64}


def from_json(path: str, value: Any) -> Content:
    """A text, `{"content", "encoding", "executable"}`, or `{"base64"}` as in bundles. Raises Invalid."""
    if isinstance(value, str):
        return Content(value.encode())
    if not isinstance(value, Mapping):
        raise Invalid(f'{path}: must be a text, or an object with "content"', field="content")
    encoding = BASE64 if BASE64 in value else value.get("encoding") or ""
    text = value.get("content", value.get(BASE64))
    if not isinstance(text, str) or encoding not in ("", "utf-8", BASE64):
        raise Invalid(f'{path}: "content" must be a text, and "encoding" base64 or nothing', field="content")
    data = _decoded(path, text) if encoding == BASE64 else text.encode()
    return Content(data, executable=value.get("executable") is True)


def cleaned(files: Files) -> dict[str, Content]:
    """The files with paths in the form in which they are stored. Raises Invalid, TooLarge."""
    found: dict[str, Content] = {}
    for path, content in files.items():
        clean = paths.clean(path)
        if clean in found:
            raise Invalid(f'path "{clean}": is there twice', field="path")
        found[clean] = content
    check(found)
    return found


def check(files: Files) -> None:
    """Check files whose paths are clean: each of them, and all together. Raises Invalid, TooLarge."""
    for path, content in files.items():
        check_one(path, content)
    check_all({path: len(content.data) for path, content in files.items()})


def check_one(path: str, content: Content) -> None:
    """Raises TooLarge; Invalid for a `config.yaml` that cannot be read."""
    if len(content.data) > MAX_FILE_BYTES:
        raise TooLarge(f"{path}: must not be larger than 1 MiB, has {len(content.data):,} bytes", field="content")
    if path == agent_config.NAME:
        agent_config.read(content.data)


def check_all(sizes: Mapping[str, int]) -> None:
    """Check how many files there are, how large they are together, and that no file is also a folder."""
    if len(sizes) > MAX_FILES:
        raise TooLarge(f"files: a workspace has at most {MAX_FILES:,} files, not {len(sizes):,}", field="files")
    if (total := sum(sizes.values())) > MAX_TOTAL_BYTES:
        raise TooLarge(f"files: a workspace has at most 16 MiB of files, not {total:,} bytes", field="files")
    paths.check_together(sizes)


def _decoded(path: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"{path}: is not base64", field="content") from None
