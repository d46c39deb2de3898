"""Who set, deleted or read which secret."""

from pathlib import Path

import activity.models
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0002_publication'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(Path(__file__).with_suffix('.sql').read_text(), 'DROP TABLE secret_accesses')
            ],
            state_operations=[
                migrations.CreateModel(
                    name='SecretAccess',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('at', models.DateTimeField(db_default=activity.models.Now())),
                        ('actor', models.TextField()),
                        ('action', models.TextField(choices=[('set', 'Set'), ('deleted', 'Deleted'), ('read', 'Read')])),
                        ('keys', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                        ('workspace', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='registry.workspace')),
                    ],
                    options={
                        'verbose_name': 'secret access',
                        'verbose_name_plural': 'secret accesses',
                        'db_table': 'secret_accesses',
                        'ordering': ['-id'],
                    },
                ),
            ],
        ),
    ]
