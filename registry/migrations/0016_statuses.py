"""An index for lists of workspaces by status. Heartbeats do not change it, so they stay HOT updates.

It is built CONCURRENTLY, so that heartbeats continue. An interrupted build leaves an invalid index, which is dropped
first.
"""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS workspaces_status_idx;"
CREATE = "CREATE INDEX CONCURRENTLY workspaces_status_idx ON workspaces (status) WHERE status <> 'removed';"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0015_templates")]

    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop), migrations.RunSQL(CREATE, DROP)]
