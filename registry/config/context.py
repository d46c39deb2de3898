"""What an agent gets from elsewhere: its parent's shared files, and which of its variables are missing."""

from uuid import UUID

from activity import statements
from registry.config import agent_config, files
from registry.config.agent_config import AgentConfig
from registry.config.contents import Content
from registry.secrets import store
from registry.structure import rows

MISSING = f"""
SELECT name FROM workspace_files f CROSS JOIN LATERAL unnest(f.required_env) WITH ORDINALITY AS required (name, place)
WHERE f.workspace_id = %(id)s AND f.required_env <> '{{}}'
  AND {store.UNSET}
ORDER BY place
"""  # noqa: S608  # of constants


def config_of(workspace_id: UUID) -> AgentConfig:
    """What its `config.yaml` says; nothing if it has none."""
    found = files.contents([workspace_id], [agent_config.NAME]).get(workspace_id, {})
    return agent_config.read(found[agent_config.NAME].data) if found else agent_config.NONE


def shared(workspace_id: UUID) -> dict[str, Content]:
    """The files that the parent shares with its team, in the order in which it names them; those that it has not are
    left out. Raises NotFound, Removed, Forwarded."""
    parent_id = rows.find(workspace_id).parent_id
    if parent_id is None or not (wanted := config_of(parent_id).shared_context):
        return {}
    found = files.contents([parent_id], wanted).get(parent_id, {})
    return {path: found[path] for path in dict.fromkeys(wanted) if path in found}


def missing_environment(workspace_id: UUID) -> list[str]:
    """The variables that its `config.yaml` requires and that are no secret of the workspace or of all."""
    return [name for (name,) in statements.execute(MISSING, {"id": workspace_id})]
