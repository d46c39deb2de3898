"""An index of calls, from which those of all workspaces are counted without reading their rows.

It is built CONCURRENTLY, so that reports continue. An interrupted build leaves an invalid index, which is dropped first.
"""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS activity_logs_calls_idx;"
CREATE = """
CREATE INDEX CONCURRENTLY activity_logs_calls_idx ON activity_logs (created_at) INCLUDE (duration_ms, status)
  WHERE activity_type = 'a2a_receive';
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("activity", "0008_activity_transactions")]

    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop), migrations.RunSQL(CREATE, DROP)]
