"""Whether an agent that runs was started with what its workspace has now."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0021_deployments'),
    ]

    operations = [
        migrations.AddField('deployment', 'changes', models.IntegerField(db_default=0, default=0)),
        migrations.AddField('deployment', 'started_changes', models.IntegerField(db_default=0, default=0)),
    ]
