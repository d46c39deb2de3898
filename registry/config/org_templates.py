"""Org templates: whole organisations, written as an `org.yaml` in a folder on the server, or sent as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from registry.config import agent_config, blueprints, folders, templates, transfers, yaml_reader
from registry.config.agent_config import AgentConfig
from registry.config.blueprints import Blueprint, Created
from registry.config.contents import Content
from registry.config.layouts import Place
from registry.exceptions import Invalid, ManyProblems, Problem, RegistryError
from registry.models import TransferKind

NAME = "org.yaml"
MAX_INCLUDES = 500
ORG_KEYS = frozenset(("name", "description", "defaults", "workspaces"))
DEFAULT_KEYS = frozenset(("runtime", "tier", "model", "template", "initial_prompt", "required_env"))
WORKSPACE_KEYS = frozenset((
    "name", "role", "tier", "runtime", "model", "template", "files_dir", "system_prompt", "initial_prompt",
    "initial_prompt_file", "external", "url", "canvas", "children", "required_env",
))  # fmt: skip
TEXTS = ("name", "role", "runtime", "model", "template", "files_dir", "system_prompt", "initial_prompt", "url")


@dataclass(kw_only=True)
class Organisation:
    """What an org template would create. `ignored`: keys that mean nothing here, with their places."""

    name: str = ""
    description: str = ""
    workspaces: tuple[Blueprint, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many workspaces."""
        return sum(one.size for one in self.workspaces)


def listing() -> list[dict[str, Any]]:
    """All org templates by folder. One that cannot be read has a `problem`."""
    return [_listed(name, folder) for name, folder in _folders().items()]


def of_folder(name: str) -> Organisation:
    """The organisation of a folder. Raises Invalid, also if there is no such folder."""
    folder = _folders().get(name)
    if folder is None:
        known = ", ".join(_folders()) or "none"
        raise Invalid(f"dir: there is no org template {name[:100]!r}; known ones: {known}", field="dir")
    return read(_Includes(folder).load(folder / NAME), folder)


def read(value: Any, folder: Path | None = None) -> Organisation:
    """The organisation that the value of an `org.yaml` describes; without a `folder` it cannot name files."""
    if not isinstance(value, dict):
        raise Invalid("an org template must be an object with name and workspaces", field="template")
    reader = _Reader(folder, Organisation())
    reader.organisation(value)
    found = reader.made
    found.problems += blueprints.problems(found.workspaces)
    return found


def create(organisation: Organisation, *, actor: str) -> list[Created]:
    """Create the organisation in one transaction; all workspaces, parents first. Raises ManyProblems."""
    if organisation.problems:
        raise ManyProblems(organisation.problems)
    with transaction.atomic():
        created = blueprints.create(organisation.workspaces, parent_id=None, actor=actor)
        kind, size = TransferKind.ORGANISATION_IMPORTED, organisation.size
        transfers.note(kind, organisation.name, actor=actor, workspaces=size)
        return [one for root in created for one in root.walk()]


def _folders() -> dict[str, Path]:
    return folders.children(settings.ORG_TEMPLATES_DIR, NAME)


def _listed(name: str, folder: Path) -> dict[str, Any]:
    try:
        value = _Includes(folder).load(folder / NAME)
    except RegistryError as error:
        return {"dir": name, "name": name, "description": "", "workspaces": 0, "problem": error.message}
    given = value if isinstance(value, dict) else {}
    return {
        "dir": name,
        "name": _text(given.get("name")) or name,
        "description": _text(given.get("description")),
        "workspaces": sum(_count(one, 1) for one in _list(given.get("workspaces"))),
    }


def _count(value: Any, depth: int) -> int:
    if depth > blueprints.MAX_DEPTH or not isinstance(value, dict):
        return 1
    return 1 + sum(_count(child, depth + 1) for child in _list(value.get("children")))


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@dataclass
class _Includes:
    """Reads YAML files of one folder; `!include file` stands for what that file says."""

    root: Path
    count: int = 0

    def load(self, file: Path, above: tuple[Path, ...] = ()) -> Any:
        """Raises Invalid, naming the file, for what is outside of the folder, too deep, or includes itself."""
        shown = file.relative_to(self.root.resolve() if above else self.root).as_posix()
        self.count += 1
        if file.resolve() in above:
            raise Invalid(f"{shown}: includes itself", field=shown)
        if len(above) >= blueprints.MAX_DEPTH or self.count > MAX_INCLUDES:
            raise Invalid(f"{shown}: at most {blueprints.MAX_DEPTH} levels and {MAX_INCLUDES} files", field=shown)
        inner = (*above, file.resolve())

        def include(path: str) -> Any:
            return self.load(folders.inside(self.root, path, base=file.resolve().parent), inner)

        return yaml_reader.read(folders.read(file, shown=shown).data, name=shown, include=include).value


@dataclass
class _Reader:
    """Collects problems and ignored keys while it reads."""

    folder: Path | None
    made: Organisation
    count: int = 0
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def organisation(self, given: Mapping[str, Any]) -> None:
        self.made.name = _text(given.get("name"))
        self.made.description = _text(given.get("description"))
        self.ignore(given, ORG_KEYS, "")
        if not self.made.name:
            self.refuse("name", "is missing")
        self.defaults = self.mapping(given.get("defaults"), "defaults")
        self.ignore(self.defaults, DEFAULT_KEYS, "defaults")
        self.check_texts(self.defaults, "defaults")
        items = given.get("workspaces")
        if not isinstance(items, list) or not items:
            self.refuse("workspaces", "must be a list with at least one workspace")
        self.made.workspaces = tuple(self.workspaces(_list(items), "workspaces", 1))

    def workspaces(self, items: list[Any], where: str, depth: int) -> Iterator[Blueprint]:
        """Without those beyond the limits, of which one problem tells."""
        if items and depth > blueprints.MAX_DEPTH:
            self.refuse(where, f"at most {blueprints.MAX_DEPTH} levels of teams")
            return
        for number, item in enumerate(items):
            self.count += 1
            if self.count > blueprints.MAX_WORKSPACES:
                self.refuse(where, f"at most {blueprints.MAX_WORKSPACES} workspaces at once")
                return
            yield self.workspace(item, f"{where}[{number}]", depth)

    def workspace(self, item: Any, where: str, depth: int) -> Blueprint:
        given = self.mapping(item, where)
        self.ignore(given, WORKSPACE_KEYS, where)
        self.check_texts(given, where)
        texts = {name: _text(given.get(name)) for name in TEXTS}
        external = given.get("external") is True
        base = self.template(self.template_id(given, external=external), where)
        config = self.attempt(where, lambda: self.files(given, texts, base), {})
        # The template's own team, and then what the organisation adds.
        children = (
            *base.children,
            *self.workspaces(self.list(given, "children", where), f"{where}.children", depth + 1),
        )
        self.count += sum(child.size for child in base.children)
        return Blueprint(
            name=texts["name"],
            where=where,
            role=texts["role"] or None,
            tier=self.tier(given, where) or base.tier or self.tier(self.defaults, "defaults"),
            runtime=texts["runtime"] or ("" if external else base.runtime or _text(self.defaults.get("runtime"))),
            model=texts["model"] or base.model or _text(self.defaults.get("model")) or None,
            external=external,
            url=texts["url"] or None,
            template=base.template,
            place=self.place(given.get("canvas"), where),
            files=config,
            children=children,
        )

    def check_texts(self, given: Mapping[str, Any], where: str) -> None:
        for name in TEXTS:
            if isinstance(given.get(name), list | dict):
                self.refuse(f"{where}.{name}", "must be a text")

    def template_id(self, given: Mapping[str, Any], *, external: bool) -> str:
        """Its own, also if that is none; an agent that runs elsewhere needs no files."""
        if "template" in given or external:
            return _text(given.get("template"))
        return _text(self.defaults.get("template"))

    def template(self, template_id: str, where: str) -> Blueprint:
        nothing = Blueprint(name="")
        if not template_id:
            return nothing
        found: Blueprint = self.attempt(where, lambda: templates.blueprint(template_id), nothing)
        return found

    def files(self, given: Mapping[str, Any], texts: Mapping[str, str], base: Blueprint) -> dict[str, Content]:
        """Those of the template, over them those of `files_dir`, then what the organisation says itself."""
        found = dict(base.files)
        if texts["files_dir"]:
            found |= folders.read_all(self.inside(texts["files_dir"]))
        if texts["system_prompt"]:
            found[agent_config.PROMPT] = Content(texts["system_prompt"].encode())
        current = found[agent_config.NAME].data if agent_config.NAME in found else None
        changes = self.config(given, texts, agent_config.read(current) if current else agent_config.NONE)
        if current is None and (found or any(changes.values())):
            changes = {"name": texts["name"], **changes}
        if any(changes.values()):
            found[agent_config.NAME] = Content(agent_config.changed(current, changes))
        return found

    def config(self, given: Mapping[str, Any], texts: Mapping[str, str], current: AgentConfig) -> dict[str, Any]:
        """What of the organisation belongs into `config.yaml`."""
        prompt = texts["initial_prompt"] or _text(self.defaults.get("initial_prompt"))
        if file := _text(given.get("initial_prompt_file")):
            prompt = folders.read(self.inside(file), shown=file).text or ""
        wanted = [*_list(self.defaults.get("required_env")), *_list(given.get("required_env"))]
        required = dict.fromkeys(str(one) for one in wanted)
        known = current.values.get("env") or {}
        names = [*_list(known.get("required")), *(one for one in required if one not in current.required_env)]
        return {"initial_prompt": prompt, "env": {**known, "required": names} if required else None}

    def inside(self, path: str) -> Path:
        if self.folder is None:
            raise Invalid(f"{path}: only an org template in a folder on the server can name files", field="path")
        return folders.inside(self.folder, path)

    def tier(self, given: Mapping[str, Any], where: str) -> int | None:
        value = given.get("tier")
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            self.refuse(f"{where}.tier", "must be 1, 2, 3 or 4")
            return None
        return value

    def place(self, canvas: Any, where: str) -> Place | None:
        if not canvas:
            return None
        numbers: Any = [canvas.get("x"), canvas.get("y")] if isinstance(canvas, dict) else []
        if not numbers or not all(
            isinstance(one, int | float) and abs(one) <= blueprints.MAX_COORDINATE for one in numbers
        ):
            self.refuse(f"{where}.canvas", "must have x and y from -10,000,000 to 10,000,000")
            return None
        return Place(x=float(numbers[0]), y=float(numbers[1]))

    def list(self, given: Mapping[str, Any], name: str, where: str) -> list[Any]:
        value = given.get(name)
        if value is not None and not isinstance(value, list):
            self.refuse(f"{where}.{name}", "must be a list")
        return _list(value)

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        if value is not None and not isinstance(value, dict):
            self.refuse(where, "must be an object")
        return value if isinstance(value, dict) else {}

    def attempt(self, where: str, read: Any, otherwise: Any) -> Any:
        """What `read` returns; if it raises, that is a problem of `where`."""
        try:
            return read()
        except RegistryError as error:
            self.refuse(where, error.message)
            return otherwise

    def ignore(self, given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        self.made.ignored += [f"{where}.{key}" if where else str(key) for key in given if key not in known]

    def refuse(self, where: str, error: str) -> None:
        self.made.problems.append(Problem(where, error))
