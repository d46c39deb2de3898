"""Reading Agent Cards as agents send them: A2A 0.2, 0.3 and 1.0, and the shapes that real projects add.

Cards are stored and returned as they came. What read_card() cannot use it leaves out and reports as a problem. A field
that is absent is no problem: registration already names the agent's address, and most cards lack something.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from registry.exceptions import TooLarge
from registry.structure.text import shortened_name
from registry.structure.urls import validate_agent_url

MAX_PROBLEMS = 20
MAX_ITEMS = 100
"""Read of one list or object; real cards have at most 15 skills."""
MAX_PATH = 80
BINDINGS = {
    "jsonrpc": "JSONRPC",
    "jsonrpc20": "JSONRPC",
    "grpc": "GRPC",
    "httpjson": "HTTP+JSON",
    "http": "HTTP+JSON",
    "https": "HTTP+JSON",
    "rest": "HTTP+JSON",
}
# A2A 1.0 wraps each scheme in an object with one of these keys; before, `type` held the value.
SCHEME_TYPES = {
    "apiKeySecurityScheme": "apiKey",
    "httpAuthSecurityScheme": "http",
    "oauth2SecurityScheme": "oauth2",
    "openIdConnectSecurityScheme": "openIdConnect",
    "mtlsSecurityScheme": "mutualTLS",
}
ADDRESSES = frozenset((
    "url", "supportedInterfaces", "supported_interfaces", "additionalInterfaces", "additional_interfaces", "interfaces",
    "endpoint", "endpoints", "signatures",
))  # fmt: skip
DEFAULT_BINDING = "JSONRPC"
"""Of a card's own `url`, until A2A 0.3."""
Fields = dict[str, Any]
Item = tuple[str, Any]
"""A value in the card and its path, such as `skills[0]`."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """An address at which the agent listens. `binding` is JSONRPC, GRPC, HTTP+JSON, one of its own, or ""."""

    url: str
    binding: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Something that the agent can do."""

    id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Who offers the agent."""

    organization: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class SecurityScheme:
    """How callers authenticate. `type` is as in OpenAPI: apiKey, http, oauth2, openIdConnect, mutualTLS, or ""."""

    name: str
    type: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentCard:
    """What a card says, with "" or () for what it does not. `url` is the first usable address.

    `capabilities` are the names of those that are on, `extensions` their URIs. `problems` has at most MAX_PROBLEMS
    sentences; they quote no values, which could be credentials.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    url: str = ""
    interfaces: tuple[Interface, ...] = ()
    skills: tuple[Skill, ...] = ()
    capabilities: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    provider: Provider | None = None
    security_schemes: tuple[SecurityScheme, ...] = ()
    input_modes: tuple[str, ...] = ()
    output_modes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def check_size(card: Any) -> None:
    """Raises TooLarge for a card that has more bytes than MAX_CARD_BYTES as compact JSON."""
    size = len(json.dumps(card, separators=(",", ":"), ensure_ascii=False).encode())
    if size > settings.MAX_CARD_BYTES:
        raise TooLarge(
            f"agent_card: must not be larger than {settings.MAX_CARD_BYTES} bytes, has {size}", field="agent_card"
        )


def without_addresses(card: dict[str, Any]) -> dict[str, Any]:
    """The card without what says where its agent listens, and without signatures, which would no longer fit."""
    return {name: value for name, value in card.items() if name not in ADDRESSES}


def read_card(card: Any) -> AgentCard:
    """Return what a card says. Takes any JSON value and never raises."""
    if not isinstance(card, dict):
        return AgentCard(problems=("The card must be a JSON object.",))
    reader = _Reader()
    interfaces = _interfaces(reader, card)
    capabilities, extensions = _capabilities(reader, card)
    return AgentCard(
        name=_name(reader, card),
        description=reader.text(card, "description"),
        version=reader.text(card, "version"),
        url=interfaces[0].url if interfaces else "",
        interfaces=interfaces,
        skills=tuple(_skills(reader, card)),
        capabilities=capabilities,
        extensions=extensions,
        provider=_provider(reader, card),
        security_schemes=_security_schemes(reader, card),
        input_modes=reader.texts(card, "defaultInputModes"),
        output_modes=reader.texts(card, "defaultOutputModes"),
        problems=tuple(reader.problems),
    )


def _name(reader: "_Reader", card: Fields) -> str:
    """The name as a workspace would take it: cards stored before there was a rule may break it."""
    text = reader.text(card, "name")
    if not text:
        reader.report("name", "is missing")
        return ""
    try:
        return shortened_name(text)
    except ValidationError as error:
        reader.report("name", error.messages[0])
        return ""


@dataclass
class _Reader:
    """Typed access to the fields of JSON objects. It collects problems, each once.

    A field is looked up by its name in camel case, then in snake case, as Python projects write it.
    """

    problems: list[str] = field(default_factory=list)

    def report(self, path: str, what: str) -> None:
        problem = f"{_printable(path)}: {what}."
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def text(self, fields: Fields, name: str, at: str = "") -> str:
        return self.as_text(_path(at, name), _value(fields, name))

    def as_text(self, path: str, value: Any) -> str:
        if isinstance(value, str):
            return value.strip()
        if value is not None:
            self.report(path, "must be text")
        return ""

    def items(self, fields: Fields, name: str, at: str = "") -> Iterator[Item]:
        """The items of a list, each with its path."""
        path, value = _path(at, name), _value(fields, name)
        if isinstance(value, list):
            self._check_size(path, value)
            for number, item in enumerate(value[:MAX_ITEMS]):
                yield f"{path}[{number}]", item
        elif value is not None:
            self.report(path, "must be a list")

    def texts(self, fields: Fields, name: str, at: str = "") -> tuple[str, ...]:
        read = [self.as_text(path, item) for path, item in self.items(fields, name, at)]
        return tuple(text for text in read if text)

    def members(self, path: str, fields: Fields) -> list[Item]:
        """The members of an object that are not null, by their own names."""
        self._check_size(path, fields)
        return [(name, value) for name, value in list(fields.items())[:MAX_ITEMS] if value is not None]

    def url(self, path: str, value: Any) -> str:
        """The URL, or "" unless it is one at which an agent may register."""
        text = self.as_text(path, value)
        try:
            if text:
                validate_agent_url(text)
        except ValidationError as error:
            self.report(path, error.messages[0])
            return ""
        return text

    def _check_size(self, path: str, found: list[Any] | Fields) -> None:
        if len(found) > MAX_ITEMS:
            self.report(path, f"has {len(found):,} items, only the first {MAX_ITEMS} are read")


def _interfaces(reader: _Reader, card: Fields) -> tuple[Interface, ...]:
    """Every usable address, the preferred one first, each once for a binding."""
    version = reader.text(card, "protocolVersion")
    url = reader.url("url", card.get("url"))
    preferred = _binding(reader.text(card, "preferredTransport"))
    listed = [
        interface
        for name in ("supportedInterfaces", "additionalInterfaces")
        for path, item in reader.items(card, name)
        if (interface := _interface(reader, path, item, version))
    ]
    listed += _endpoints(reader, card, version)
    # A listed interface says more of the same URL than the default does.
    if url and (preferred or all(one.url != url for one in listed)):
        listed.insert(0, Interface(url=url, binding=preferred or DEFAULT_BINDING, version=version))
    unique: dict[tuple[str, str], Interface] = {}
    for one in listed:
        unique.setdefault((one.url, one.binding), one)
    return tuple(unique.values())


def _interface(reader: _Reader, path: str, item: Any, version: str) -> Interface | None:
    if not isinstance(item, dict):
        reader.report(path, "must be an object with url and protocolBinding")
        return None
    if _value(item, "url") is None:
        reader.report(_path(path, "url"), "is missing")
    url = reader.url(_path(path, "url"), _value(item, "url"))
    binding = reader.text(item, "protocolBinding", path) or reader.text(item, "transport", path)
    if not binding:
        reader.report(path, "names no protocolBinding")
    own_version = reader.text(item, "protocolVersion", path)
    return Interface(url=url, binding=_binding(binding), version=own_version or version) if url else None


def _endpoints(reader: _Reader, card: Fields, version: str) -> list[Interface]:
    """`endpoints` is of no version of A2A: an object of URLs, or of objects with one, by what they are for."""
    value = card.get("endpoints")
    if not isinstance(value, dict):
        return []
    found = []
    for name, item in reader.members("endpoints", value):
        path = _path("endpoints", name)
        url = reader.url(path, _value(item, "url") if isinstance(item, dict) else item)
        if url:
            found.append(Interface(url=url, binding=BINDINGS.get(_letters(name), ""), version=version))
    return found


def _capabilities(reader: _Reader, card: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """An object of switches, in older cards a list of names; and the URIs of extensions."""
    value = card.get("capabilities")
    if isinstance(value, list):
        return reader.texts(card, "capabilities"), ()
    if value is None:
        return (), ()
    if not isinstance(value, dict):
        reader.report("capabilities", "must be an object")
        return (), ()
    extensions = [
        reader.text(item, "uri", path) if isinstance(item, dict) else reader.as_text(path, item)
        for path, item in reader.items(value, "extensions", "capabilities")
    ]
    switches = [member for member in reader.members("capabilities", value) if member[0] != "extensions"]
    for name, switch in switches:
        if not isinstance(switch, bool | dict):
            reader.report(_path("capabilities", name), "must be true or false")
    # An object holds the settings of a capability, which is on then.
    on = [_camel(name) for name, switch in switches if switch is True or isinstance(switch, dict)]
    return tuple(on), tuple(uri for uri in extensions if uri)


def _skills(reader: _Reader, card: Fields) -> Iterator[Skill]:
    for path, item in reader.items(card, "skills"):
        if isinstance(item, dict):
            skill_id = reader.text(item, "id", path) or reader.text(item, "skillId", path)
            name = reader.text(item, "name", path)
            if not (skill_id or name):
                reader.report(path, "has neither id nor name")
                continue
            yield Skill(
                id=skill_id or name,
                name=name or skill_id,
                description=reader.text(item, "description", path),
                tags=reader.texts(item, "tags", path),
            )
        elif isinstance(item, str) and item.strip():
            yield Skill(id=item.strip(), name=item.strip())
        else:
            reader.report(path, "must be an object with id and name")


def _provider(reader: _Reader, card: Fields) -> Provider | None:
    value = card.get("provider")
    if isinstance(value, dict):
        url = reader.url("provider.url", value.get("url"))
        return Provider(organization=reader.text(value, "organization", "provider"), url=url)
    organization = reader.as_text("provider", value)
    return Provider(organization=organization) if organization else None


def _security_schemes(reader: _Reader, card: Fields) -> tuple[SecurityScheme, ...]:
    """`securitySchemes`, or what cards had before it: `authentication`, an object with `schemes`, a list or a name."""
    value = _value(card, "securitySchemes")
    if isinstance(value, dict):
        return tuple(_security_scheme(reader, *member) for member in reader.members("securitySchemes", value))
    if value is not None:
        reader.report("securitySchemes", "must be an object")
    old = card.get("authentication")
    if isinstance(old, dict):
        names = reader.texts(old, "schemes", "authentication")
    elif isinstance(old, list):
        names = reader.texts(card, "authentication")
    else:
        names = (reader.as_text("authentication", old),)
    return tuple(SecurityScheme(name=name) for name in names if name)


def _security_scheme(reader: _Reader, name: str, value: Any) -> SecurityScheme:
    path = _path("securitySchemes", name)
    if not isinstance(value, dict):
        reader.report(path, "must be an object")
        return SecurityScheme(name=name)
    wrapped = next((kind for key, kind in SCHEME_TYPES.items() if _value(value, key) is not None), "")
    kind = reader.text(value, "type", path) or wrapped
    if not kind:
        reader.report(path, "names no type")
    return SecurityScheme(name=name, type=kind)


def _binding(text: str) -> str:
    """The standard name of a binding however it is written; others, such as URIs, stay as they are."""
    return BINDINGS.get(_letters(text), text)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _value(fields: Fields, name: str) -> Any:
    snake = re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", name)
    value = fields.get(name)
    return fields.get(snake) if value is None else value


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda letter: letter[1].upper(), name)


def _path(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _printable(path: str) -> str:
    """Keys come from the card: what could not be seen, or would turn the text around, is escaped."""
    shown = path if len(path) <= MAX_PATH else f"{path[:MAX_PATH]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
