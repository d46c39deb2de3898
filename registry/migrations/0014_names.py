"""An index for lists of workspaces, which are by name. Heartbeats change none of its columns, so they stay HOT updates.

It is built CONCURRENTLY, so that heartbeats continue. An interrupted build leaves an invalid index, which is dropped
first.
"""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS workspaces_name_idx;"
CREATE = "CREATE INDEX CONCURRENTLY workspaces_name_idx ON workspaces (name, created_at, id);"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0013_saved_filters")]

    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop), migrations.RunSQL(CREATE, DROP)]
