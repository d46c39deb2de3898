"""Bundles as others send them: checked as a whole, with all problems at once, and turned into a blueprint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.config import agent_config, blueprints, paths
from registry.config.blueprints import Blueprint
from registry.config.contents import Content, from_json
from registry.config.layouts import Place
from registry.exceptions import Invalid, ManyProblems, Problem, RegistryError
from registry.organisation.agent_cards import without_addresses

SCHEMA = "1.0"
DESCRIBING = ("description", "tools", "author", "version")
"""What a bundle without a `config.yaml` says only here."""
TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "id": ((str,), "a text"),
    "name": ((str,), "a text"),
    "role": ((str,), "a text"),
    "description": ((str,), "a text"),
    "tier": ((int,), "a whole number"),
    "runtime": ((str,), "a text"),
    "model": ((str,), "a text"),
    "system_prompt": ((str,), "a text"),
    "skills": ((list,), "a list"),
    "tools": ((list,), "a list"),
    "prompts": ((dict,), "an object"),
    "executable": ((list,), "a list"),
    "sub_workspaces": ((list,), "a list"),
    "agent_card": ((dict,), "an object"),
    "author": ((str,), "a text"),
    "version": ((str, int, float), "a text"),
    "layout": ((dict,), "an object"),
}


def read(bundle: Any) -> tuple[Blueprint, list[Problem]]:
    """What the bundle would create, and all that is wrong with it. Raises Invalid for what is no bundle at all."""
    if not isinstance(bundle, dict):
        raise Invalid("the body must be a bundle: a JSON object with schema, name and more")
    if "schema" not in bundle and "bundle" in bundle:
        raise Invalid('send the bundle itself as the body, not as {"bundle": …}', field="bundle")
    if bundle.get("schema") != SCHEMA:
        raise Invalid(f'schema: must be "{SCHEMA}": this is not a bundle, or one of another version', field="schema")
    reader = _Reader()
    root = reader.workspace(bundle, "", 1)
    return root, [*reader.problems, *blueprints.problems([root])]


@dataclass
class _Reader:
    """Collects problems while it reads; a value with a problem counts as not given."""

    problems: list[Problem] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    count: int = 0

    def workspace(self, given: Any, where: str, depth: int) -> Blueprint:
        if not isinstance(given, dict):
            self.refuse(where, "must be an object")
            given = {}
        self.count += 1
        values = {name: self.value(given, name, where) for name in TYPES}
        return Blueprint(
            name=values["name"] or "",
            where=where,
            role=(values["role"] if "role" in given else values["description"]) or None,
            tier=values["tier"],
            runtime=values["runtime"] or "",
            model=values["model"] or None,
            source_bundle_id=self.id(values["id"], where),
            agent_card=without_addresses(values["agent_card"]) if values["agent_card"] else None,
            place=self.place(values["layout"], where),
            files=self.files(values, where),
            children=tuple(self.children(values["sub_workspaces"] or [], where, depth)),
        )

    def children(self, given: list[Any], where: str, depth: int) -> Iterator[Blueprint]:
        """Without those beyond the limits, of which one problem tells."""
        if given and depth >= blueprints.MAX_DEPTH:
            self.refuse(where, f"sub_workspaces: at most {blueprints.MAX_DEPTH} levels of teams")
            return
        for number, child in enumerate(given):
            if self.count >= blueprints.MAX_WORKSPACES:
                self.refuse(where, f"sub_workspaces: at most {blueprints.MAX_WORKSPACES} workspaces in a bundle")
                return
            yield self.workspace(child, _below(where, f"sub_workspaces[{number}]"), depth + 1)

    def value(self, given: dict[str, Any], name: str, where: str) -> Any:
        """The value if it has the right type; None for "" and null."""
        value, (types, expected) = given.get(name), TYPES[name]
        if value is None or value == "":
            return None
        if not isinstance(value, types) or isinstance(value, bool):
            self.refuse(_below(where, name), f"must be {expected}")
            return None
        return value

    def id(self, value: str | None, where: str) -> str | None:
        if value is not None and value in self.ids:
            self.refuse(_below(where, "id"), f"{value[:80]!r} is there twice")
        self.ids.update([value] if value else [])
        return value

    def place(self, layout: Any, where: str) -> Place | None:
        if not layout:
            return None
        numbers = [layout.get("x"), layout.get("y")]
        if not all(_is_coordinate(one) for one in numbers) or not isinstance(layout.get("collapsed", False), bool):
            self.refuse(
                _below(where, "layout"), "must have x and y from -10,000,000 to 10,000,000, and may have collapsed"
            )
            return None
        return Place(x=float(numbers[0]), y=float(numbers[1]), collapsed=layout.get("collapsed", False))

    def files(self, values: dict[str, Any], where: str) -> dict[str, Content]:
        """Everything that is a file in the agent's folder, by path."""
        found: dict[str, Content] = {}
        executable = {path for path in values["executable"] or [] if isinstance(path, str)}
        for at, path, value in self.given_files(values, where):
            try:
                clean = paths.clean(path)
                content = from_json(clean, value)
            except RegistryError as error:
                self.refuse(at, error.message)
                continue
            if clean in found:
                self.refuse(at, f"{clean}: is there twice")
            found[clean] = Content(content.data, executable=clean in executable)
        if agent_config.NAME not in found and any(values[name] for name in DESCRIBING):
            found[agent_config.NAME] = _config(values)
        return found

    def given_files(self, values: dict[str, Any], where: str) -> Iterator[tuple[str, str, Any]]:
        """For each file its place in the bundle, its path and its value."""
        if values["system_prompt"]:
            yield _below(where, "system_prompt"), agent_config.PROMPT, values["system_prompt"]
        for number, skill in enumerate(values["skills"] or []):
            at = _below(where, f"skills[{number}]")
            if not isinstance(skill, dict) or not isinstance(skill.get("id"), str) or not skill["id"]:
                self.refuse(at, "must be an object with an id")
            else:
                yield from self.given_skill(skill, at)
        for path, value in (values["prompts"] or {}).items():
            yield _below(where, "prompts"), path, value

    def given_skill(self, skill: dict[str, Any], at: str) -> Iterator[tuple[str, str, Any]]:
        given = skill.get("files") or {}
        if not isinstance(given, dict):
            self.refuse(f"{at}.files", "must be an object")
            return
        for path, value in given.items():
            yield f"{at}.files", f"skills/{skill['id']}/{path}", value
        if "SKILL.md" not in given and isinstance(skill.get("description"), str) and skill["description"]:
            yield at, f"skills/{skill['id']}/SKILL.md", _skill_text(skill)

    def refuse(self, where: str, error: str) -> None:
        self.problems.append(Problem(where, error))


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= blueprints.MAX_COORDINATE


def _config(values: Mapping[str, Any]) -> Content:
    """A `config.yaml` for a bundle that has none."""
    names = ("name", "description", "version", "author", "tools")
    skills = [skill.get("id") for skill in values["skills"] or [] if isinstance(skill, dict)]
    return Content(agent_config.write({**{name: values[name] for name in names}, "skills": skills}))


def _skill_text(skill: Mapping[str, Any]) -> str:
    front = agent_config.write({"name": skill.get("name") or skill["id"], "description": skill["description"]})
    return f"---\n{front.decode()}---\n"


def required(bundle: Any) -> Blueprint:
    """What the bundle creates. Raises ManyProblems, Invalid."""
    root, problems = read(bundle)
    if problems:
        raise ManyProblems(problems)
    return root
