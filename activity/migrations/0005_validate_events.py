"""Check the existing rows against the constraint of 0004, while writers continue.

Rows of the log cannot be changed, so a bad one must not stop an upgrade. It is reported, and the constraint then applies
to new rows only.
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
