"""The process's Redis client. Redis is ephemeral: nothing here is the only copy of anything."""

from functools import cache

import redis
from django.conf import settings


@cache
def client() -> redis.Redis:
    """Connections are pooled and re-made after a Redis restart."""
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, health_check_interval=30, socket_timeout=5)
