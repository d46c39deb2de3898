"""An index for what needs attention: the few files that require variables. It is built as in 0016_statuses.py."""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS workspace_files_required_env_idx;"
CREATE = """
CREATE INDEX CONCURRENTLY workspace_files_required_env_idx ON workspace_files (workspace_id) WHERE required_env <> '{}';
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0017_required_env")]

    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop), migrations.RunSQL(CREATE, DROP)]
