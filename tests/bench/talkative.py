"""The product's own application, but a socket may say as much as it likes: here a few speak for thousands."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
django.setup()

from activity import stream  # noqa: E402  # these need the apps that it loads
from molecule.asgi import application  # noqa: E402

stream.MAX_MESSAGES = 1_000_000_000

__all__ = ["application"]
