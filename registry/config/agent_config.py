"""`config.yaml`: what an agent is, as its author wrote it. Keys that are not known here are kept in the file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import yaml

from registry.config import paths, yaml_reader
from registry.exceptions import Invalid
from registry.models import RESERVED, variable_name

NAME = "config.yaml"
PROMPT = "system-prompt.md"
OPERATORS_KEYS = ("tier", "runtime")
"""What only an operator may set in it."""
MAX_READABLE = 10_000
"""Characters. PyYAML's own emitter writes emoji as they are; that of libyaml is a hundred times as fast."""


@dataclass(frozen=True, kw_only=True)
class SubWorkspace:
    """A member of the team that belongs to an agent. `config` is the id of a template, or None."""

    name: str
    role: str | None = None
    config: str | None = None


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """What is known of a `config.yaml`; "", () and None stand for what it does not say. `values` is all of it.
    `required_env` is without what Molecule sets itself."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    tier: int | None = None
    runtime: str | None = None
    model: str | None = None
    entrypoint: str = ""
    extends: str = ""
    skills: tuple[str, ...] = ()
    tools: tuple[Any, ...] = ()
    shared_context: tuple[str, ...] = ()
    required_env: tuple[str, ...] = ()
    sub_workspaces: tuple[SubWorkspace, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


NONE = AgentConfig()


@lru_cache(maxsize=256)
def read(content: bytes, *, name: str = NAME) -> AgentConfig:
    """Read a `config.yaml`. Raises Invalid, with line and column, for what is no YAML, or a value of a wrong type."""
    document = yaml_reader.read(content, name=name)
    values = {} if document.value is None else document.value
    reader = _Reader(name, values if isinstance(values, dict) else {}, document.places)
    if not isinstance(values, dict):
        reader.refuse("", "must be a mapping of keys to values")
    env, runtime_config = reader.mapping("env"), reader.mapping("runtime_config")
    required = (
        *reader.texts("env", env.get("required")),
        *reader.texts("runtime_config", runtime_config.get("required_env")),
    )
    return AgentConfig(
        name=reader.text("name"),
        description=reader.text("description"),
        version=reader.text("version"),
        author=reader.text("author"),
        tier=reader.tier(),
        runtime=reader.text("runtime") or None,
        model=reader.text("model") or _scalar(runtime_config.get("model")) or None,
        entrypoint=reader.text("entrypoint"),
        extends=reader.text("extends"),
        skills=reader.texts("skills", values.get("skills")),
        tools=tuple(reader.items("tools", values.get("tools"))),
        shared_context=tuple(
            reader.path("shared_context", one) for one in reader.texts("shared_context", values.get("shared_context"))
        ),
        required_env=tuple(dict.fromkeys(one for one in map(reader.variable, required) if one not in RESERVED)),
        sub_workspaces=tuple(reader.sub_workspaces()),
        values=values,
    )


def write(values: Mapping[str, Any]) -> bytes:
    """The text of a `config.yaml` with these values, without the empty ones, in their order."""
    given = {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
    emitter = yaml.SafeDumper if len(repr(given)) <= MAX_READABLE else yaml.CSafeDumper
    return yaml.dump(given, Dumper=emitter, sort_keys=False, allow_unicode=True, width=100).encode()


def changed(content: bytes | None, values: Mapping[str, Any]) -> bytes:
    """The text of a `config.yaml` with these values in place of its own; without any, the text as it is."""
    given = {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
    if content is not None and not given:
        return content
    return write({**(read(content).values if content is not None else {}), **given})


@dataclass(frozen=True)
class _Reader:
    """Values of the file, or Invalid with the place of what is wrong."""

    name: str
    values: Mapping[str, Any]
    places: Mapping[str, str]

    def refuse(self, key: str, problem: str) -> NoReturn:
        at = f", {self.places[key]}" if key in self.places else ""
        raise Invalid(f"{self.name}{at}: {f'{key} ' if key else ''}{problem}", field=self.name)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if isinstance(value, list | dict):
            self.refuse(key, "must be a text")
        return _scalar(value)

    def tier(self) -> int | None:
        value = self.values.get("tier")
        if value is not None and (isinstance(value, bool) or value not in (1, 2, 3, 4)):
            self.refuse("tier", "must be 1, 2, 3 or 4")
        return None if value is None else int(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            self.refuse(key, "must be a mapping of keys to values")
        return value

    def items(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value or [], list):
            self.refuse(key, "must be a list")
        return value or []

    def texts(self, key: str, value: Any) -> tuple[str, ...]:
        """Texts, or objects that have the text as `id` or `name`, as some files write them. `key`: where they are."""
        return tuple(self._text_of(key, item) for item in self.items(key, value))

    def _text_of(self, key: str, item: Any) -> str:
        if isinstance(item, dict):
            item = item.get("id") or item.get("name")
        if isinstance(item, list | dict) or not _scalar(item):
            self.refuse(key, "must be a list of texts")
        return _scalar(item)

    def path(self, key: str, text: str) -> str:
        try:
            return paths.clean(text)
        except Invalid as error:
            self.refuse(key, error.message)

    def variable(self, text: str) -> str:
        if not variable_name.regex.match(text):  # type: ignore[union-attr]
            self.refuse("env", f"{text[:80]!r} is no name of an environment variable")
        return text

    def sub_workspaces(self) -> Iterator[SubWorkspace]:
        for item in self.items("sub_workspaces", self.values.get("sub_workspaces")):
            if not isinstance(item, dict):
                self.refuse("sub_workspaces", "must be a list of {config, name, role}")
            given = {key: _scalar(item.get(key)).strip() for key in ("name", "role", "config")}
            if not (given["name"] or given["config"]):
                self.refuse("sub_workspaces", "needs a name or a config for each member")
            yield SubWorkspace(
                name=given["name"] or given["config"], role=given["role"] or None, config=given["config"] or None
            )


def _scalar(value: Any) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value)
