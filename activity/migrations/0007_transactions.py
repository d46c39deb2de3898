"""The transaction of each event and activity: it tells which events belong together, and which rows a reader has not seen.

No statement rewrites a table: existing rows have no transaction.
"""

from django.db import migrations, models

import activity.models

TABLES = {"structureevent": "structure_events", "activitylog": "activity_logs"}
ADD = """
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS transaction_id BIGINT;
ALTER TABLE {table} ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()::text::bigint;
"""
DROP = "ALTER TABLE {table} DROP COLUMN IF EXISTS transaction_id;"


def column(model: str) -> migrations.AddField:
    field = models.BigIntegerField(null=True, db_default=activity.models.TransactionId(), editable=False)
    return migrations.AddField(model, "transaction_id", field)


class Migration(migrations.Migration):
    dependencies = [("activity", "0006_rebuild")]

    operations = [
        migrations.RunSQL(ADD.format(table=table), DROP.format(table=table), state_operations=[column(model)])
        for model, table in TABLES.items()
    ]
