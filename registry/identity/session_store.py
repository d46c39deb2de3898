"""settings.SESSION_ENGINE: Django's sessions in the database, which expire by its clock."""

from datetime import datetime
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from activity import clock


class SessionStore(db.SessionStore):
    """Only the synchronous methods use the database's clock; nothing here calls the others."""

    def get_expiry_date(self, **kwargs: Any) -> datetime:
        return super().get_expiry_date(**{"modification": clock.now(), **kwargs})

    def _get_session_from_db(self) -> Session | None:
        live = Session.objects.filter(session_key=self.session_key, expire_date__gt=Now()).first()
        if live is None:
            self._session_key = None
        return live
