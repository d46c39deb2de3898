"""Blueprints: workspaces that are to be created, with files and teams. Templates, bundles and organisations become
blueprints; they are checked, shown and created here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.db import transaction

from registry.config import agent_config, contents, files, layouts
from registry.config.contents import Files
from registry.config.layouts import Place
from registry.exceptions import ManyProblems, Problem, RegistryError
from registry.models import DEFAULT_TIER, EXTERNAL, Workspace, no_line_breaks
from registry.organisation import agent_cards, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure.urls import validate_agent_url

MAX_WORKSPACES = 500
MAX_DEPTH = 16
MAX_LABEL = 100
"""Of a runtime or model."""
MAX_ID = 255
MAX_COORDINATE = 1e7
MAX_VALUES = 200_000
"""In the `config.yaml` of all together: to read YAML takes a hundred times as long as to read JSON."""
BETWEEN_VALUES = b",:-[{\n"


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A workspace to create, and its team. `where` names it in problems. `tier`: None or 0 for the default."""

    name: str
    where: str = ""
    role: str | None = None
    tier: int | None = None
    runtime: str = ""
    model: str | None = None
    external: bool = False
    url: str | None = None
    template: str | None = None
    source_bundle_id: str | None = None
    agent_card: dict[str, Any] | None = None
    place: Place | None = None
    files: Files = field(default_factory=dict, repr=False)
    children: tuple["Blueprint", ...] = ()
    size: int = field(init=False)
    """How many workspaces, this one included."""
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", 1 + sum(child.size for child in self.children))
        object.__setattr__(self, "depth", 1 + max((child.depth for child in self.children), default=0))

    def walk(self) -> Iterator["Blueprint"]:
        """This one and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, kw_only=True)
class Created:
    """A workspace that was created, and its team."""

    workspace_id: UUID
    name: str
    status: str
    children: tuple["Created", ...] = ()

    def walk(self) -> Iterator["Created"]:
        """This one and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


def problems(roots: Sequence[Blueprint]) -> list[Problem]:
    """All that keeps these from being created."""
    count, depth = sum(root.size for root in roots), max((root.depth for root in roots), default=0)
    if count > MAX_WORKSPACES:
        return [Problem("", f"at most {MAX_WORKSPACES} workspaces at once, not {count:,}")]
    if depth > MAX_DEPTH:
        return [Problem("", f"at most {MAX_DEPTH} levels of teams, not {depth}")]
    everything = [one for root in roots for one in root.walk()]
    if sum(_most_values(one) for one in everything) > MAX_VALUES:
        return [Problem("", f"{agent_config.NAME}: at most {MAX_VALUES:,} values in all of them")]
    return [problem for one in everything for problem in _problems_of(one)]


def create(roots: Sequence[Blueprint], *, parent_id: UUID | None, actor: str) -> tuple[Created, ...]:
    """Create all workspaces with their files and places, in one transaction.

    Raises ManyProblems, Invalid (the parent).
    """
    if found := problems(roots):
        raise ManyProblems(found)
    made = [one for root in roots for one in root.walk()]
    # In order, so that siblings whose times are equal are listed in the order in which they were given.
    ids = iter(sorted(uuid4() for _ in made))
    created: list[tuple[UUID, UUID | None, Blueprint]] = []
    tree = tuple(_plan(root, parent_id, ids, created) for root in roots)
    with transaction.atomic():
        workspaces.create_all({i: _new(one, above) for i, above, one in created}, actor=actor)
        files.add_to_new({i: one.files for i, _, one in created if one.files}, actor=actor)
        layouts.place_all({i: one.place for i, _, one in created if one.place})
    return tree


def rows_of(created: Sequence[Created]) -> list[Workspace]:
    """The rows of the outermost ones, in order."""
    found = Workspace.objects.in_bulk([one.workspace_id for one in created])
    return [found[one.workspace_id] for one in created]


def _plan(
    one: Blueprint, parent_id: UUID | None, ids: Iterator[UUID], created: list[tuple[UUID, UUID | None, Blueprint]]
) -> Created:
    workspace_id = next(ids)
    created.append((workspace_id, parent_id, one))
    new = _new(one, parent_id)
    children = tuple(_plan(child, workspace_id, ids, created) for child in one.children)
    status = "online" if new.external and new.url else "provisioning"
    return Created(workspace_id=workspace_id, name=new.name, status=status, children=children)


def _new(one: Blueprint, parent_id: UUID | None) -> NewWorkspace:
    return NewWorkspace(
        name=one.name,
        role=one.role,
        tier=one.tier or DEFAULT_TIER,
        runtime=one.runtime,
        parent_id=parent_id,
        model=one.model,
        template=one.template,
        external=one.external,
        url=one.url,
        source_bundle_id=one.source_bundle_id,
        agent_card=one.agent_card,
        place=(one.place.x, one.place.y) if one.place else None,
    )


def _most_values(one: Blueprint) -> int:
    """An upper bound for the values in its `config.yaml`, without reading it."""
    if agent_config.NAME not in one.files:
        return 0
    text = one.files[agent_config.NAME].data
    return len(text) - len(text.translate(None, BETWEEN_VALUES))


def _problems_of(one: Blueprint) -> Iterator[Problem]:
    for check in (_check_row, _check_files, _check_card):
        try:
            check(one)
        except RegistryError as error:
            yield Problem(one.where, error.message)
    for name, limit in (("runtime", MAX_LABEL), ("model", MAX_LABEL), ("source_bundle_id", MAX_ID)):
        value = getattr(one, name) or ""
        if len(value) > limit or no_line_breaks.regex.search(value):  # type: ignore[union-attr]
            yield Problem(
                one.where, f"{name.removeprefix('source_bundle_')}: must be one line of at most {limit} characters"
            )
    if one.tier and one.tier not in (1, 2, 3, 4):
        yield Problem(one.where, "tier: must be 1, 2, 3 or 4")
    if one.url is not None:
        yield from _problems_of_url(one)


def _problems_of_url(one: Blueprint) -> Iterator[Problem]:
    if not (one.external or one.runtime == EXTERNAL):
        yield Problem(one.where, "url: only an external workspace has one")
    try:
        validate_agent_url(one.url or "")
    except ValidationError as error:
        yield Problem(one.where, f"url: {error.messages[0]}")


def _check_row(one: Blueprint) -> None:
    _new(one, None)


def _check_files(one: Blueprint) -> None:
    contents.check(one.files)


def _check_card(one: Blueprint) -> None:
    if one.agent_card is not None:
        agent_cards.check_size(one.agent_card)
