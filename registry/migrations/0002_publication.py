"""What others may follow by logical replication: docs/change-stream.md.

With `wal_level` below logical PostgreSQL creates it with a warning; nobody can follow it until then, and
/health/ready says so. One that an administrator made before, for a role that may not, is left as it is.
"""

from django.db import migrations


CREATE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'molecule_changes') THEN
    CREATE PUBLICATION molecule_changes FOR TABLE structure_events, workspaces;
  END IF;
END $$;
"""
DROP = "DROP PUBLICATION IF EXISTS molecule_changes;"


class Migration(migrations.Migration):

    dependencies = [
        ('activity', '0001_initial'),
        ('registry', '0001_initial'),
    ]

    operations = [migrations.RunSQL(CREATE, DROP)]
