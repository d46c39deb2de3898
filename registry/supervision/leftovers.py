"""Deletes expired sessions, old login attempts, dead tokens, and old rows of the logs of secret accesses and
transfers."""

from django.conf import settings
from django.db import connection

BATCH = 500
# For each table the setting with the days to keep a row (0: forever, None: not at all), and since when they count.
LEFTOVERS: dict[str, tuple[str | None, str]] = {
    "django_session": (None, "expire_date"),
    "axes_accessattempt": ("LOGIN_RETENTION_DAYS", "attempt_time"),
    "axes_accesslog": ("LOGIN_RETENTION_DAYS", "attempt_time"),
    "axes_accessfailurelog": ("LOGIN_RETENTION_DAYS", "attempt_time"),
    "workspace_tokens": ("TOKEN_RETENTION_DAYS", "least(revoked_at, expires_at)"),
    "operator_tokens": ("TOKEN_RETENTION_DAYS", "least(revoked_at, expires_at)"),
    "secret_accesses": ("SECRET_ACCESS_RETENTION_DAYS", "at"),
    "transfers": ("TRANSFER_RETENTION_DAYS", "at"),
}
DELETE = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM {table} WHERE {since} < now() - make_interval(secs => %s) LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def delete() -> int:
    """Delete at most BATCH rows of the first table that has any; returns how many. Locked rows are left for later."""
    for table, (setting, since) in LEFTOVERS.items():
        days = 0.0 if setting is None else getattr(settings, setting)
        if setting is not None and days == 0:
            continue
        if setting == "LOGIN_RETENTION_DAYS":
            # A failed attempt is needed for as long as it locks an account.
            days = max(days, settings.LOGIN_LOCK_MINUTES / (24 * 60))
        with connection.cursor() as cursor:
            cursor.execute(DELETE.format(table=table, since=since), [days * 86400, BATCH])
            if cursor.rowcount:
                return int(cursor.rowcount)
    return 0
