"""Background jobs are called so in the admin. No change to the database."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0007_roles_and_runtime'),
    ]

    operations = [
        migrations.AlterModelOptions(
            'looptick', {'verbose_name': 'background job', 'verbose_name_plural': 'background jobs'}
        ),
    ]
