"""Templates: what a new workspace is made from. They are folders on the server, or were imported into the database."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from registry.config import agent_config, blueprints, context, folders, transfers
from registry.config.agent_config import AgentConfig
from registry.config.blueprints import Blueprint, Created
from registry.config.contents import EXECUTABLE_MODE, Content, Files, cleaned
from registry.exceptions import Conflict, Invalid, NotFound, RegistryError
from registry.models import DEFAULT_TIER, AgentTemplate, AgentTemplateFile, TransferKind, Workspace
from registry.organisation import teams
from registry.structure import hierarchy, rows

MAX_IMPORTED = 500
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MAX_ID = 100
SKILL = re.compile(r"skills/([^/]+)/")
Listed = dict[str, Any]
Above = tuple[str, ...]
"""The ids of the templates whose teams contain, or that extend, the one that is read."""


def listing() -> list[Listed]:
    """All templates by id: what their `config.yaml` says. One that cannot be read has a `problem`."""
    found = {
        name: _listed(name, lambda folder=folder: _config_of_folder(folder)) for name, folder in _folders().items()
    }
    imported = AgentTemplateFile.objects.filter(path=agent_config.NAME).values_list("template_id", "content")
    for template_id, content in imported:
        config = bytes(content)
        found.setdefault(
            template_id, _listed(template_id, lambda config=config: agent_config.read(config), imported=True)
        )
    return [found[template_id] for template_id in sorted(found)]


def read(template_id: str, *, above: Above = ()) -> dict[str, Content]:
    """The files of a template, over those of the one that it extends. Raises Invalid, which lists the known ones, if
    there is no such template, and if it extends itself."""
    files = _own_files(template_id)
    base = _extended(files)
    if not base:
        return files
    line = (*above, template_id)
    if base in line or len(line) > blueprints.MAX_DEPTH:
        shown = ", which extends ".join(line)
        raise Invalid(f"extends: template {shown}, extends {base}: in a circle, or too deep", field="template")
    return cleaned({**read(base, above=line), **files})


def blueprint(template_id: str, *, above: Above = ()) -> Blueprint:
    """The workspace that a template describes, with the team of its `sub_workspaces`. Raises Invalid."""
    files = read(template_id)
    config = agent_config.read(files[agent_config.NAME].data)
    return Blueprint(
        name=config.name or template_id,
        where=f"template {template_id}",
        tier=config.tier,
        runtime=config.runtime or "",
        model=config.model,
        template=template_id,
        files=files,
        children=tuple(team(config, above=(*above, template_id))),
    )


def applied(wanted: Blueprint) -> Blueprint:
    """The blueprint with what its template adds: files, team, and the tier, runtime and model that it does not have."""
    if not wanted.template:
        return wanted
    base = blueprint(wanted.template)
    return replace(
        wanted,
        tier=wanted.tier or base.tier,
        runtime=wanted.runtime or ("" if wanted.external else base.runtime),
        model=wanted.model or base.model,
        files=base.files,
        children=base.children,
    )


def team(config: AgentConfig, *, above: Above = ()) -> Iterator[Blueprint]:
    """The members that `sub_workspaces` names. Raises Invalid, also for a template whose team contains itself."""
    if len(above) > blueprints.MAX_DEPTH:
        raise Invalid(f"sub_workspaces: more than {blueprints.MAX_DEPTH} levels of teams", field="sub_workspaces")
    members: dict[str, Blueprint] = {}
    size = 0
    for member in config.sub_workspaces:
        if member.config is None:
            yield Blueprint(name=member.name, role=member.role, where=f"sub_workspaces, {member.name}")
            continue
        if member.config in above:
            raise Invalid(
                f"sub_workspaces: the team of template {member.config} contains itself", field="sub_workspaces"
            )
        if member.config not in members:
            members[member.config] = blueprint(member.config, above=above)
        size += members[member.config].size
        if size > blueprints.MAX_WORKSPACES:
            raise Invalid(
                f"sub_workspaces: at most {blueprints.MAX_WORKSPACES} workspaces at once", field="sub_workspaces"
            )
        yield replace(members[member.config], name=member.name, role=member.role)


def expand(workspace_id: UUID, *, actor: str) -> list[Workspace]:
    """Create the team that the workspace's own `config.yaml` names, and return its members.

    Raises NotFound, Removed, Invalid (it names none, or an unknown template), ManyProblems.
    """
    wanted = list(team(context.config_of(workspace_id)))
    with transaction.atomic():
        hierarchy.lock()
        rows.lock_active(workspace_id)
        if not wanted:
            raise Invalid("members: must have at least one member, or sub_workspaces in config.yaml", field="members")
        created = blueprints.rows_of(blueprints.create(wanted, parent_id=workspace_id, actor=actor))
        teams.summarize_expansion(workspace_id, created, actor=actor)
        return created


def import_files(name: str, files: Files, *, actor: str) -> str:
    """Store a template and return its id, made from the name. Without a `config.yaml` it gets one.

    Raises Invalid, TooLarge, Conflict (there is such a template, or there are too many).
    """
    template_id = slugify(name)[:MAX_ID]
    if not ID.fullmatch(template_id):
        raise Invalid("name: must have a letter from a to z, or a digit", field="name")
    wanted = cleaned({agent_config.NAME: _default_config(name, files), **files})
    with transaction.atomic():
        if AgentTemplate.objects.count() >= MAX_IMPORTED:
            raise Conflict(f"at most {MAX_IMPORTED} templates can be imported: delete some first")
        given = {"name": name, "created_by": actor}
        _, is_new = AgentTemplate.objects.get_or_create(id=template_id, defaults=given)
        if not is_new or template_id in _folders():
            raise Conflict(f"there is a template {template_id}: choose another name, or delete it first")
        AgentTemplateFile.objects.bulk_create(
            AgentTemplateFile(template_id=template_id, path=path, content=content.data, mode=content.mode)
            for path, content in wanted.items()
        )
        transfers.note(TransferKind.TEMPLATE_IMPORTED, template_id, actor=actor)
    return template_id


def delete(template_id: str, *, actor: str) -> None:
    """Delete an imported template. Workspaces made from it keep their files. Raises NotFound, Conflict (a folder)."""
    with transaction.atomic():
        if not AgentTemplate.objects.filter(id=template_id).delete()[0]:
            if template_id in _folders():
                raise Conflict("this template is a folder on the server, and was not imported")
            raise NotFound("no such template")
        transfers.note(TransferKind.TEMPLATE_DELETED, template_id, actor=actor)


def create(wanted: Blueprint, *, parent_id: UUID | None, actor: str) -> Created:
    """Create one workspace from its blueprint, with what its template adds. Raises as blueprints.create() does."""
    [created] = blueprints.create([applied(wanted)], parent_id=parent_id, actor=actor)
    return created


def skills_of(files: Mapping[str, Any]) -> list[str]:
    """The ids of the skills: folders in `skills`."""
    return sorted({match[1] for path in files if (match := SKILL.match(path))})


def _own_files(template_id: str) -> dict[str, Content]:
    if folder := _folders().get(template_id):
        return cleaned(folders.read_all(folder))
    found = AgentTemplateFile.objects.filter(template_id=template_id).order_by("path")
    files = {row.path: Content(bytes(row.content), executable=row.mode == EXECUTABLE_MODE) for row in found}
    if not files:
        raise Invalid(_unknown(template_id), field="template")
    return files


def _extended(files: Files) -> str:
    """What it extends. blueprint() says it if its `config.yaml` cannot be read."""
    with suppress(Invalid):
        return agent_config.read(files[agent_config.NAME].data).extends
    return ""


def _folders() -> dict[str, Path]:
    return folders.children(settings.AGENT_TEMPLATES_DIR, agent_config.NAME)


def _config_of_folder(folder: Path) -> AgentConfig:
    return agent_config.read(folders.read(folder / agent_config.NAME, shown=agent_config.NAME).data)


def _listed(template_id: str, config_of: Any, *, imported: bool = False) -> Listed:
    try:
        config, problem = config_of(), {}
    except RegistryError as error:
        config, problem = agent_config.NONE, {"problem": error.message}
    return {
        "id": template_id,
        "name": config.name or template_id,
        "description": config.description,
        "tier": config.tier or DEFAULT_TIER,
        "runtime": config.runtime or "",
        "model": config.model or "",
        "skills": list(config.skills),
        "skill_count": len(config.skills),
        "imported": imported,
    } | problem


def _unknown(template_id: str) -> str:
    known = ", ".join(template["id"] for template in listing()) or "none"
    return f"template: there is no template {template_id[:MAX_ID]!r}; known ones: {known}"


def _default_config(name: str, files: Files) -> Content:
    prompts = [agent_config.PROMPT] if agent_config.PROMPT in files else []
    values = {"name": name, "prompt_files": prompts, "skills": skills_of(files)}
    return Content(agent_config.write(values))
