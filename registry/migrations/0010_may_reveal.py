"""Which tokens may read secret values: all existing ones, and new ones that are issued with that right.

The next migration validates the new check on accesses, so that no lock is held while the table is read.
"""

from django.db import migrations, models

APPLY = """
ALTER TABLE workspace_tokens ADD COLUMN may_reveal BOOLEAN NOT NULL DEFAULT true;
ALTER TABLE workspace_tokens ALTER COLUMN may_reveal SET DEFAULT false;
ALTER TABLE secret_accesses DROP CONSTRAINT secret_accesses_action_check;
ALTER TABLE secret_accesses ADD CONSTRAINT secret_accesses_action_check
  CHECK (action IN ('set', 'deleted', 'read', 'allowed')) NOT VALID;
"""
UNDO = """
DELETE FROM secret_accesses WHERE action = 'allowed';
ALTER TABLE secret_accesses DROP CONSTRAINT secret_accesses_action_check;
ALTER TABLE secret_accesses ADD CONSTRAINT secret_accesses_action_check CHECK (action IN ('set', 'deleted', 'read'));
ALTER TABLE workspace_tokens DROP COLUMN may_reveal;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0009_token_enrolment'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(APPLY, UNDO)],
            state_operations=[
                migrations.AddField(
                    'workspacetoken', 'may_reveal', models.BooleanField(db_default=False, default=False)
                ),
                migrations.AlterField(
                    'secretaccess',
                    'action',
                    models.TextField(
                        choices=[('set', 'Set'), ('deleted', 'Deleted'), ('read', 'Read'), ('allowed', 'Allowed')]
                    ),
                ),
                migrations.AlterModelOptions(
                    'workspacesecret',
                    {
                        'ordering': ['key'],
                        'permissions': [('reveal_secrets', 'Can let agents read secret values')],
                    },
                ),
            ],
        ),
    ]
