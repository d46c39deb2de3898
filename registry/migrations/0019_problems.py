"""Indexes for what needs attention: the few workspaces that flap or were refused. They are built as in 0016_statuses.py."""

from django.db import migrations

COLUMNS = ("flapping_until", "refused_at")


def drop(column):
    return f"DROP INDEX CONCURRENTLY IF EXISTS workspaces_{column}_idx;"


def create(column):
    return (
        f"CREATE INDEX CONCURRENTLY workspaces_{column}_idx ON workspaces ({column}) WHERE {column} IS NOT NULL;"
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0018_required_env_index")]

    operations = [
        operation
        for column in COLUMNS
        for operation in (
            migrations.RunSQL(drop(column), migrations.RunSQL.noop),
            migrations.RunSQL(create(column), drop(column)),
        )
    ]
