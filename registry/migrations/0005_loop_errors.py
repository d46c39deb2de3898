"""What went wrong in a background loop. `ticked_at` is empty for one that has never completed a step."""

from django.db import migrations, models

ADD = """
ALTER TABLE loop_ticks
  ADD COLUMN errors BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN last_error TEXT,
  ADD COLUMN failed_at TIMESTAMPTZ,
  ALTER COLUMN ticked_at DROP NOT NULL;
"""
DROP = """
DELETE FROM loop_ticks WHERE ticked_at IS NULL;
ALTER TABLE loop_ticks DROP COLUMN errors, DROP COLUMN last_error, DROP COLUMN failed_at,
  ALTER COLUMN ticked_at SET NOT NULL;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0004_flapping'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, DROP)],
            state_operations=[
                migrations.AddField('looptick', 'errors', models.BigIntegerField(default=0, db_default=0)),
                migrations.AddField('looptick', 'last_error', models.TextField(null=True)),
                migrations.AddField('looptick', 'failed_at', models.DateTimeField(null=True)),
                migrations.AlterField('looptick', 'ticked_at', models.DateTimeField(null=True)),
            ],
        ),
    ]
