"""An index for searches in names and roles: which two adjacent characters they have, as capitals.

A text that contains a word has all pairs of the word, so few rows are left to compare with it. Heartbeats do not change
the index, so they stay HOT updates. It is built as in 0016_statuses.py.
"""

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION pairs(VARIADIC texts text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(array_agg(DISTINCT substr(capitals, n, 2)), '{}')
  FROM unnest(texts) AS t (one), upper(one) AS capitals, generate_series(1, length(capitals) - 1) AS n
$$;
"""
DROP_FUNCTION = "DROP FUNCTION pairs(text[]);"
DROP = "DROP INDEX CONCURRENTLY IF EXISTS workspaces_search_idx;"
# Without a list of pending entries, which every search would have to read.
CREATE = """
CREATE INDEX CONCURRENTLY workspaces_search_idx ON workspaces USING gin (pairs(name, role)) WITH (fastupdate = off);
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("registry", "0019_problems")]

    operations = [
        migrations.RunSQL(FUNCTION, DROP_FUNCTION),
        migrations.RunSQL(DROP, migrations.RunSQL.noop),
        migrations.RunSQL(CREATE, DROP),
    ]
