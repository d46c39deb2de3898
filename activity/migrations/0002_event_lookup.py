"""What the log is filtered by: time, actor and type. A page of a rare one is then not a walk through all."""

from django.db import migrations

CREATE = """
CREATE INDEX IF NOT EXISTS structure_events_created_at_idx ON structure_events (created_at);
CREATE INDEX IF NOT EXISTS structure_events_actor_seq_idx ON structure_events (actor, seq DESC);
CREATE INDEX IF NOT EXISTS structure_events_event_type_seq_idx ON structure_events (event_type, seq DESC);
"""
DROP = """
DROP INDEX IF EXISTS structure_events_created_at_idx, structure_events_actor_seq_idx,
  structure_events_event_type_seq_idx;
"""


class Migration(migrations.Migration):
    dependencies = [("activity", "0001_initial")]

    operations = [migrations.RunSQL(CREATE, DROP)]
