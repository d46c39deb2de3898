"""The environment that an agent is started with. Only here are secrets decrypted for that."""

from django.conf import settings

from registry.config import context
from registry.exceptions import SecretsBroken, SecretsUnavailable
from registry.models import RESERVED, Agent, AgentStatus, Workspace
from registry.runtime.backend import Paths, Refused
from registry.secrets import store

ACTOR = "supervisor"


def platform_url() -> str:
    """Where agents on this host reach the platform."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)  # noqa: S104  # read, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.PORT}{settings.FORCE_SCRIPT_NAME}"


def assemble(workspace: Workspace, paths: Paths) -> dict[str, str]:
    """Its variables, without those by which a backend says where it listens: global secrets, then its own, then the
    platform's, which a secret of the same name cannot replace.

    The access is logged. Raises Refused, which names the variables that are missing, or the secrets that do not open.
    """
    if missing := context.missing_environment(workspace.id):
        raise Refused("missing_environment", f"config.yaml requires {', '.join(missing)}: set such secrets")
    try:
        secrets = store.environment_for(workspace.id, actor=ACTOR)
    except (SecretsBroken, SecretsUnavailable) as error:
        raise Refused("secrets_broken", error.message) from None
    return {key: value for key, value in secrets.items() if key not in RESERVED} | _own(workspace, paths)


def _own(workspace: Workspace, paths: Paths) -> dict[str, str]:
    given = {
        "WORKSPACE_ID": str(workspace.id),
        "WORKSPACE_NAME": workspace.name,
        "PLATFORM_URL": platform_url(),
        "MOLECULE_URL": platform_url(),
        "WORKSPACE_CONFIG_PATH": paths.configs,
        "CONFIGS_DIR": paths.configs,
        "PLUGINS_DIR": paths.plugins,
        "TIER": str(workspace.tier),
        "WORKSPACE_TIER": str(workspace.tier),
        "PARENT_ID": "" if workspace.parent_id is None else str(workspace.parent_id),
    }
    model = Agent.objects.filter(workspace=workspace, status=AgentStatus.ACTIVE).values_list("model", flat=True).first()
    return given | ({"MODEL_PROVIDER": model} if model else {})
