"""An agent's token records the enrolment token that it was issued for, so that a registration may be repeated."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0008_background_job_names'),
    ]

    operations = [
        migrations.AddField('workspacetoken', 'enrolment_id', models.UUIDField(editable=False, null=True)),
    ]
