"""The check of 0004 for the rows that are there. Writers go on meanwhile.

Nothing can change a row of the log, so a bad one must not stop an upgrade: it is reported, and the check is for new
rows only.
"""

from django.db import migrations

VALIDATE = """
DO $$ BEGIN
  ALTER TABLE structure_events VALIDATE CONSTRAINT structure_events_complete;
EXCEPTION WHEN check_violation THEN
  RAISE WARNING 'the log has events without what their type needs: SELECT * FROM structure_events
    WHERE NOT structure_events_is_complete(event_type, workspace_id, agent_id, payload)';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("activity", "0004_complete_events")]

    operations = [migrations.RunSQL(VALIDATE, migrations.RunSQL.noop)]
