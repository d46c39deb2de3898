"""Bundles: a workspace with its team as one portable JSON document. Export, import, duplicate. No secret leaves."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils.text import slugify

from activity import statements, strict_json
from registry.config import agent_config, blueprints, bundle_reader, contents, files, layouts, transfers, yaml_reader
from registry.config.agent_config import AgentConfig
from registry.config.blueprints import Blueprint, Created
from registry.config.contents import Content
from registry.config.layouts import Place
from registry.exceptions import Conflict, Invalid, Problem, SecretsBroken, SecretsUnavailable, TooLarge
from registry.models import Agent, AgentStatus, TransferKind, Workspace
from registry.organisation.agent_cards import without_addresses
from registry.secrets import masking, store
from registry.secrets.masking import Mask
from registry.structure import hierarchy, rows
from registry.structure.text import MAX_NAME

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 200_000
"""JSON values in a bundle."""
TOKEN = re.compile(rb"mol_(?:ws|op|en)_[0-9a-f]{12}_[A-Za-z0-9-]{43}")
SKILL_PATH = re.compile(r"skills/([^/]+)/(.+)", re.DOTALL)
FRONT_MATTER = re.compile(r"---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
MAX_SLUG = 100
COPY_SHIFT = 40.0
"""Pixels between a card and that of its copy."""
Bundle = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a bundle is made from."""

    workspaces: Mapping[UUID, Workspace]
    files: Mapping[UUID, Mapping[str, Content]]
    models: Mapping[UUID, str]
    places: Mapping[UUID, Place]
    ids: Mapping[UUID, str]


def export(workspace_id: UUID, *, actor: str) -> Bundle:
    """The workspace with everything below it. The export is recorded.

    Raises NotFound, Removed, Forwarded, Conflict (a file has a secret, or one cannot be checked), TooLarge.
    """
    bundle = _export(workspace_id)
    transfers.note(
        TransferKind.BUNDLE_EXPORTED, bundle["name"], actor=actor, workspace_id=workspace_id, workspaces=_count(bundle)
    )
    return bundle


def file_name(bundle: Bundle) -> str:
    """What a file with this bundle is called."""
    return f"{slugify(bundle['name'])[:MAX_SLUG] or 'workspace'}.bundle.json"


def parse(content: bytes) -> Any:
    """The value of a file that should be a bundle. Raises TooLarge before anything is parsed; Invalid."""
    if len(content) > MAX_BYTES:
        raise TooLarge(too_large(len(content)))
    try:
        return strict_json.parse(content, max_values=MAX_VALUES)
    except strict_json.TooManyValues as error:
        raise TooLarge(f"this is no bundle: {error}") from None
    except strict_json.Malformed as error:
        raise Invalid(f"this is no bundle: {error}") from None


def too_large(size: int) -> str:
    """Why a file of this size is refused."""
    return f"a bundle has at most 32 MiB, not {size:,} bytes"


def name_of_copy(name: str) -> str:
    """What the copy of a workspace is called, unless it is named."""
    return f"{name[: MAX_NAME - 7]} (copy)"


def plan(bundle: Any, *, parent_id: UUID | None) -> tuple[Blueprint, list[Problem]]:
    """What an import would create, and all that is wrong. Raises Invalid for what is no bundle."""
    root, problems = bundle_reader.read(bundle)
    return root, [*problems, *_problems_of_parent(parent_id)]


def import_bundle(bundle: Any, *, parent_id: UUID | None, actor: str) -> Created:
    """Create all workspaces of a bundle, with new ids, in one transaction. Raises ManyProblems, Invalid."""
    root = bundle_reader.required(bundle)
    with transaction.atomic():
        [created] = blueprints.create([root], parent_id=parent_id, actor=actor)
        _note_created(TransferKind.BUNDLE_IMPORTED, created, root.size, actor)
        return created


def duplicate(
    workspace_id: UUID,
    *,
    actor: str,
    name: str = "",
    parent_id: UUID | EllipsisType | None = ...,
    with_team: bool = True,
) -> Created:
    """Create a copy of the workspace, as export and import would: "… (copy)" unless it is named, in the same team
    unless `parent_id` says in which one. Raises as both do."""
    bundle = _export(workspace_id, with_team=with_team)
    root = bundle_reader.required(bundle)
    copy = replace(_shifted(root), name=name or name_of_copy(root.name))
    with transaction.atomic():
        hierarchy.lock()
        team = rows.find(workspace_id).parent_id if parent_id is ... else parent_id
        rows.require_active(workspace_id, rows.lock({workspace_id, team or workspace_id}))
        [created] = blueprints.create([copy], parent_id=team, actor=actor)
        _note_created(TransferKind.WORKSPACE_DUPLICATED, created, root.size, actor)
        return created


def _note_created(kind: TransferKind, created: Created, size: int, actor: str) -> None:
    transfers.note(kind, created.name, actor=actor, workspace_id=created.workspace_id, workspaces=size)


def _problems_of_parent(parent_id: UUID | None) -> Iterator[Problem]:
    if parent_id is not None and not Workspace.objects.active().filter(id=parent_id).exists():
        yield Problem("parent_id", "there is no such workspace, or it is removed")


def _shifted(one: Blueprint) -> Blueprint:
    return replace(
        one,
        place=one.place and one.place.shifted(COPY_SHIFT),
        children=tuple(_shifted(child) for child in one.children),
    )


def _export(workspace_id: UUID, *, with_team: bool = True) -> Bundle:
    with statements.snapshot():
        source = _source(workspace_id, with_team=with_team)
        _check_secrets(source)
    bundle = {"schema": bundle_reader.SCHEMA, **_workspace(source, workspace_id, 1)}
    _check_importable(bundle)
    return bundle


def _source(workspace_id: UUID, *, with_team: bool) -> _Source:
    rows.find(workspace_id)
    ids = [workspace_id, *(hierarchy.descendants(workspace_id) if with_team else ())]
    if len(ids) > blueprints.MAX_WORKSPACES:
        raise Conflict(f"a bundle has at most {blueprints.MAX_WORKSPACES} workspaces, this team has {len(ids):,}")
    found = {row.id: row for row in Workspace.objects.filter(id__in=ids).order_by("created_at", "id")}
    return _Source(
        workspaces=found,
        files=files.contents(ids),
        models=dict(
            Agent.objects.filter(workspace_id__in=ids, status=AgentStatus.ACTIVE).values_list("workspace_id", "model")
        ),
        places=layouts.places(ids),
        ids=_portable_ids(found, workspace_id),
    )


def _check_importable(bundle: Bundle) -> None:
    """Raises TooLarge for what POST /bundles/import would refuse."""
    text = orjson.dumps(bundle)
    if len(text) > MAX_BYTES:
        raise TooLarge(f"the bundle would have {len(text):,} bytes, and at most 32 MiB can be imported")
    try:
        strict_json.parse(text, max_values=MAX_VALUES)
    except strict_json.Malformed as error:
        raise TooLarge(f"the bundle could not be imported: {error}") from None


def _workspace(source: _Source, workspace_id: UUID, depth: int) -> Bundle:
    row, found = source.workspaces[workspace_id], source.files.get(workspace_id, {})
    children = [
        one.id for one in source.workspaces.values() if one.parent_id == workspace_id and one.id != workspace_id
    ]
    if children and depth >= blueprints.MAX_DEPTH:
        raise Conflict(f"a bundle has at most {blueprints.MAX_DEPTH} levels of teams")
    config = _config_of(found)
    prompt = found[agent_config.PROMPT].text if agent_config.PROMPT in found else None
    place = source.places.get(workspace_id)
    bundle: Bundle = {
        "id": source.ids[workspace_id],
        "name": row.name,
        "role": row.role,
        "description": config.description,
        "tier": row.tier,
        "runtime": row.runtime or "",
        "model": source.models.get(workspace_id),
        "system_prompt": prompt or None,
        "skills": _skills(found),
        "tools": list(config.tools),
        "prompts": {path: _portable(one) for path, one in found.items() if _is_prompt(path, prompt)},
        "sub_workspaces": [_workspace(source, child, depth + 1) for child in children],
        "agent_card": without_addresses(row.agent_card) if row.agent_card else None,
        "author": config.author,
        "version": config.version,
    }
    if executable := [path for path, one in found.items() if one.executable]:
        bundle["executable"] = executable
    if place:
        bundle["layout"] = {"x": place.x, "y": place.y, "collapsed": place.collapsed}
    return bundle


def _is_prompt(path: str, prompt: str | None) -> bool:
    """Whether the file is neither the system prompt, as far as that is a text, nor part of a skill."""
    return not SKILL_PATH.fullmatch(path) and not (path == agent_config.PROMPT and prompt)


def _skills(found: Mapping[str, Content]) -> list[dict[str, Any]]:
    skills: dict[str, dict[str, Any]] = {}
    for path, content in found.items():
        if match := SKILL_PATH.fullmatch(path):
            skills.setdefault(match[1], {})[match[2]] = content
    return [
        {
            "id": skill_id,
            "name": _front_matter(given).get("name") or skill_id,
            "description": _front_matter(given).get("description") or "",
            "files": {path: _portable(content) for path, content in given.items()},
        }
        for skill_id, given in skills.items()
    ]


def _front_matter(skill: Mapping[str, Content]) -> dict[str, str]:
    """Name and description at the beginning of a SKILL.md; nothing from what cannot be read."""
    text = skill["SKILL.md"].text if "SKILL.md" in skill else None
    match = FRONT_MATTER.match(text) if text else None
    if match is None:
        return {}
    try:
        values = yaml_reader.read(match[1].encode(), name="SKILL.md").value
    except Invalid:
        return {}
    given = values if isinstance(values, dict) else {}
    return {name: str(given[name]) for name in ("name", "description") if given.get(name)}


def _portable(content: Content) -> str | dict[str, str]:
    shown = contents.as_json(content)
    return {contents.BASE64: shown["content"]} if "encoding" in shown else shown["content"]


def _config_of(found: Mapping[str, Content]) -> AgentConfig:
    return agent_config.read(found[agent_config.NAME].data) if agent_config.NAME in found else agent_config.NONE


def _portable_ids(found: Mapping[UUID, Workspace], root: UUID) -> dict[UUID, str]:
    """The id of each in the bundle: that of the bundle it came from, so that a round trip changes nothing; its own
    where a copy in the same team has that one already."""
    ids: dict[UUID, str] = {}
    for row in (found[root], *found.values()):
        candidates = (row.source_bundle_id, str(row.id), f"{row.id}-2")
        if row.id not in ids:
            ids[row.id] = next(one for one in candidates if one and one not in ids.values())
    return ids


def _check_secrets(source: _Source) -> None:
    """Raises Conflict, with the workspace and the path but never the value, if a secret or a token would leave."""
    try:
        store.check_all_open(list(source.workspaces))
    except (SecretsBroken, SecretsUnavailable) as error:
        raise Conflict(f"the files cannot be checked for secrets: {error.message}") from None
    known = masking.masks(source.workspaces.keys())
    for workspace_id, row in source.workspaces.items():
        mask = known.get(workspace_id, Mask(()))
        for path, content in source.files.get(workspace_id, {}).items():
            if mask.is_needed(content.data) or TOKEN.search(content.data) or mask.is_needed(path.encode()):
                shown = mask.text(path)
                raise Conflict(
                    f"{shown} of {mask.text(row.name)} contains a secret: remove it, then export", field=shown
                )
        for name, text in _texts(source, row):
            if mask.is_needed(text.encode()) or TOKEN.search(text.encode()):
                raise Conflict(
                    f"the {name} of {mask.text(row.name)} contains a secret: remove it, then export", field=name
                )


def _texts(source: _Source, row: Workspace) -> Iterator[tuple[str, str]]:
    yield from (("name", row.name), ("role", row.role or ""), ("runtime", row.runtime or ""))
    yield "model", source.models.get(row.id, "")
    yield "agent_card", orjson.dumps(without_addresses(row.agent_card or {})).decode()


def _count(bundle: Bundle) -> int:
    return 1 + sum(_count(child) for child in bundle["sub_workspaces"])
