"""Delete the secrets of removed workspaces, as a removal now does.

Each batch is a transaction, so that no lock is held for long. The secret access log gets the deletions, as usual.
"""

from django.db import migrations

BATCH = 1000
DELETE = """
WITH gone AS (
  SELECT s.id FROM workspace_secrets s JOIN workspaces w ON w.id = s.workspace_id
  WHERE w.status = 'removed' ORDER BY s.id LIMIT %s FOR UPDATE OF s
), deleted AS (
  DELETE FROM workspace_secrets s USING gone WHERE s.id = gone.id RETURNING s.workspace_id, s.key
), noted AS (
  INSERT INTO secret_accesses (actor, action, workspace_id, keys)
  SELECT 'command:migrate', 'deleted', workspace_id, array_agg(key ORDER BY key) FROM deleted GROUP BY workspace_id
)
SELECT count(*) FROM deleted
"""


def delete(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(DELETE, [BATCH])
            if cursor.fetchone()[0] < BATCH:
                return


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('registry', '0010_may_reveal'),
    ]

    operations = [
        migrations.RunPython(delete, migrations.RunPython.noop),
        migrations.RunSQL(
            "ALTER TABLE secret_accesses VALIDATE CONSTRAINT secret_accesses_action_check", migrations.RunSQL.noop
        ),
    ]
