"""An index for cursors of newer activity. It does not contain the rows of older releases.

It is built CONCURRENTLY, so that reports continue. An interrupted build leaves an invalid index, which is dropped first.
"""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS activity_logs_transaction_id_idx;"
CREATE = """
CREATE INDEX CONCURRENTLY activity_logs_transaction_id_idx ON activity_logs (transaction_id)
  WHERE transaction_id IS NOT NULL;
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("activity", "0007_transactions")]

    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop), migrations.RunSQL(CREATE, DROP)]
