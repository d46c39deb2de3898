"""An agent's own settings: one JSON object, which the agent and operators merge into."""

import json
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from registry.exceptions import TooLarge
from registry.models import AgentSettings
from registry.secrets import masking
from registry.structure import rows

MAX_BYTES = 256 * 1024
MERGE = """
INSERT INTO workspace_config AS old (workspace_id, data) VALUES (%s, %s)
ON CONFLICT (workspace_id) DO UPDATE SET data = old.data || excluded.data, updated_at = now()
RETURNING octet_length(data::text)
"""


def read(workspace_id: UUID) -> dict[str, Any]:
    """The settings, {} if there are none. Raises NotFound, Removed, Forwarded."""
    rows.find(workspace_id)
    row = AgentSettings.objects.filter(workspace_id=workspace_id).first()
    return {} if row is None else row.data


def merge(workspace_id: UUID, changes: dict[str, Any]) -> None:
    """Replace the values of these keys; others stay. Values of secrets are masked.

    Raises NotFound, Removed, TooLarge.
    """
    masked = masking.mask_for(workspace_id).json(changes)
    with transaction.atomic(), connection.cursor() as cursor:
        rows.lock_active(workspace_id)
        cursor.execute(MERGE, [workspace_id, json.dumps(masked)])
        [(size,)] = cursor.fetchall()
        if size > MAX_BYTES:
            raise TooLarge(f"data: must not be larger than {MAX_BYTES // 1024} KiB, would have {size:,} bytes")
