"""Vacuum of activity at a tenth of its usual pace.

Retention leaves millions of dead rows, and cleaning up behind it writes every page of the table and its indexes: at the
usual pace heartbeats waited for that disk.
"""

from django.db import migrations

SLOW = "ALTER TABLE activity_logs SET (autovacuum_vacuum_cost_delay = 20);"
USUAL = "ALTER TABLE activity_logs RESET (autovacuum_vacuum_cost_delay);"


class Migration(migrations.Migration):
    dependencies = [("activity", "0002_event_lookup")]

    operations = [migrations.RunSQL(SLOW, USUAL)]
