"""The tables are written as SQL, in 0001_initial.sql: names, defaults and cascades live in the
database, so that plain SQL works too. The Django state below only describes them."""

from pathlib import Path

import activity.models
import django.contrib.postgres.functions
import django.db.models.deletion
import uuid
from django.db import migrations, models


DROP = """
DROP TRIGGER canvas_layouts_drop_removed ON workspaces;
DROP TABLE canvas_layouts, canvas_viewport;
DROP FUNCTION canvas_layouts_drop_removed;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('registry', '0001_initial'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), DROP)],
            state_operations=[
                migrations.CreateModel(
                    name='CanvasLayout',
                    fields=[
                        ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='layout', serialize=False, to='registry.workspace')),
                        ('x', models.FloatField(db_default=0, default=0)),
                        ('y', models.FloatField(db_default=0, default=0)),
                        ('collapsed', models.BooleanField(db_default=False, default=False)),
                    ],
                    options={
                        'db_table': 'canvas_layouts',
                    },
                ),
                migrations.CreateModel(
                    name='CanvasViewport',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('x', models.FloatField(db_default=0, default=0)),
                        ('y', models.FloatField(db_default=0, default=0)),
                        ('zoom', models.FloatField(db_default=1, default=1)),
                        ('saved_at', models.DateTimeField(db_default=activity.models.Now())),
                    ],
                    options={
                        'db_table': 'canvas_viewport',
                    },
                ),
            ],
        ),
    ]
