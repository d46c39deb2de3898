"""A runtime that nobody named is NULL; a role may have 10,000 characters.

Rows that exist keep their runtime. Undone, NULL becomes '', for a column that allows no NULL; done again, '' becomes
NULL, as replay has it.
"""

import django.core.validators
from django.db import migrations, models

APPLY = """
ALTER TABLE workspaces ALTER COLUMN runtime DROP DEFAULT, ALTER COLUMN runtime DROP NOT NULL;
UPDATE workspaces SET runtime = NULL WHERE runtime = '';
"""
UNDO = """
UPDATE workspaces SET runtime = '' WHERE runtime IS NULL;
ALTER TABLE workspaces ALTER COLUMN runtime SET DEFAULT 'langgraph', ALTER COLUMN runtime SET NOT NULL;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0006_refusals_and_enrolment'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(APPLY, UNDO)],
            state_operations=[
                migrations.AlterField(
                    'workspace',
                    'role',
                    models.TextField(
                        blank=True, null=True, validators=[django.core.validators.MaxLengthValidator(10000)]
                    ),
                ),
                migrations.AlterField(
                    'workspace',
                    'runtime',
                    models.TextField(
                        blank=True,
                        help_text='What runs the agent. Empty: not known.',
                        null=True,
                        validators=[
                            django.core.validators.MaxLengthValidator(100),
                            django.core.validators.RegexValidator(
                                '[\\r\\n]', 'must not contain line breaks', code='line_break', inverse_match=True
                            ),
                        ],
                    ),
                ),
            ],
        ),
    ]
