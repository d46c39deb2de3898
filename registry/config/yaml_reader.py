"""Reads YAML that others wrote: PyYAML's safe loader, with limits that hold before anything is built.

The result has only what JSON in PostgreSQL has: objects, lists, texts without NUL, numbers, booleans and null. Dates
and numbers beyond 18 digits stay texts.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from registry.exceptions import Invalid

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
"""With every alias counted as all that it stands for, so that a small text cannot grow."""
STANDARD = "tag:yaml.org,2002:"
TAGS = frozenset(("!", f"{STANDARD}str", f"{STANDARD}seq", f"{STANDARD}map"))
PLAIN_VALUES = {
    "bool": (r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    "float": (r"[-+]?[0-9]{1,18}\.[0-9]{0,18}(?:[eE][-+][0-9]{1,2})?", "-+0123456789"),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
}
Include = Callable[[str], Any]


class _Loader(yaml.CSafeLoader):
    """Safe loading with fewer kinds of plain values. `include`: what an `!include` with this argument stands for."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    include: Include


for _kind, (_pattern, _first) in PLAIN_VALUES.items():
    _starts = [one if one != "\0" else "" for one in _first]
    _Loader.add_implicit_resolver(f"{STANDARD}{_kind}", re.compile(rf"^(?:{_pattern})$"), _starts)


def _included(loader: Any, node: Any) -> Any:
    return loader.include(loader.construct_scalar(node))


_Loader.add_constructor("!include", _included)


@dataclass(frozen=True, kw_only=True)
class Document:
    """`value`: what the text says. `places`: line and column of each value of the outermost object."""

    value: Any
    places: Mapping[str, str]


@dataclass(slots=True)
class _Open:
    """A list or object whose end was not read yet. `size`: its nodes so far. `keys`: None for a list."""

    anchor: str | None
    size: int = 1
    keys: set[str] | None = None
    at_key: bool = True


@dataclass(slots=True)
class _Scan:
    """What was read so far. Raises a MarkedYAMLError for what exceeds a limit."""

    tags: frozenset[str]
    places: dict[str, str] = field(default_factory=dict)
    open: list[_Open] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    documents: int = 0
    key: str = ""

    def read(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise _error("there must be only one document", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self.open.pop()
            self._add(ended.size, ended.anchor, event)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        self._place(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.sizes:
                raise _error(f"*{event.anchor} is not known here, or contains itself", event)
            self._add(self.sizes[event.anchor], None, event)
            return
        if event.tag is not None and event.tag not in self.tags:
            raise _error(f"the tag {event.tag} is not supported", event)
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:
                raise _error("a text must not contain a NUL", event)
            self._add(1, event.anchor, event)
            return
        if len(self.open) >= MAX_DEPTH:
            raise _error(f"nested deeper than {MAX_DEPTH} levels", event)
        self.open.append(_Open(event.anchor, keys=set() if isinstance(event, yaml.MappingStartEvent) else None))

    def _place(self, event: Any) -> None:
        """Check a key of an object; note where the values of the outermost object are."""
        parent = self.open[-1] if self.open else None
        if parent is None or parent.keys is None:
            return
        if parent.at_key:
            if not isinstance(event, yaml.ScalarEvent):
                raise _error("a key must be a text", event)
            if event.value in parent.keys:
                raise _error(f"the key {event.value[:80]!r} is there twice", event)
            parent.keys.add(event.value)
            self.key = event.value if len(self.open) == 1 else self.key
        elif len(self.open) == 1:
            self.places[self.key] = _place(event.start_mark)
        parent.at_key = not parent.at_key

    def _add(self, size: int, anchor: str | None, event: Any) -> None:
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open:
            self.open[-1].size += size
            if sum(one.size for one in self.open) > MAX_NODES:
                raise _error(f"more than {MAX_NODES:,} values", event)


def read(text: bytes, *, name: str, include: Include | None = None) -> Document:
    """Read one YAML document. `name` names it in errors; with `include`, `!include` is allowed.

    Raises Invalid, with line and column where they are known.
    """
    if len(text) > MAX_BYTES:
        raise Invalid(f"{name}: must not be larger than {MAX_BYTES // 1024} KiB", field=name)
    try:
        source = text.decode("utf-8-sig")
        scan = _Scan(TAGS if include is None else TAGS | {"!include"})
        for event in yaml.parse(source, Loader=yaml.CSafeLoader):
            scan.read(event)
        return Document(value=_load(source, include), places=scan.places)
    except UnicodeDecodeError:
        raise Invalid(f"{name}: must be UTF-8", field=name) from None
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        raise Invalid(f"{name}{_at(where)}: {error.problem or error.context}", field=name) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(f"{name}: {str(error).partition(chr(10))[0]}", field=name) from None


def _load(source: str, include: Include | None) -> Any:
    loader = _Loader(source)
    if include is not None:
        loader.include = include
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _error(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _at(mark: Any) -> str:
    return f", {_place(mark)}" if mark else ""


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
