"""The application without the limit on messages per socket: here a few sockets send as much as thousands would."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
django.setup()

from activity import stream  # noqa: E402  # these need the apps that it loads
from molecule.asgi import application  # noqa: E402

stream.MAX_MESSAGES = 1_000_000_000

__all__ = ["application"]
