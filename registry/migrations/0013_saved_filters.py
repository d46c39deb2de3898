"""Filters of lists that users save under a name. The table is in 0013_saved_filters.sql."""

import uuid
from pathlib import Path

import activity.models
import django.contrib.postgres.functions
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0012_files'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), 'DROP TABLE saved_filters')
            ],
            state_operations=[
                migrations.CreateModel(
                    name='SavedFilter',
                    fields=[
                        ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ('list', models.TextField()),
                        ('name', models.TextField()),
                        ('query', models.TextField()),
                        ('shared', models.BooleanField(db_default=False, default=False)),
                        ('created_at', models.DateTimeField(db_default=activity.models.Now())),
                        ('owner', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ],
                    options={
                        'db_table': 'saved_filters',
                        'ordering': ['name', 'created_at', 'id'],
                        'default_permissions': (),
                        'constraints': [models.UniqueConstraint(fields=('owner', 'list', 'name'), name='saved_filters_owner_id_list_name_key')],
                    },
                ),
            ],
        ),
    ]
