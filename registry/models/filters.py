"""Filters of lists that users save."""

import uuid

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models

from activity.models import Now


class SavedFilter(models.Model):
    """The parameters of a list under a name. `list` is its model, as "registry_workspace". A shared one is offered to
    everybody who may view the list, and changed by its owner only.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    list = models.TextField()
    name = models.TextField()
    query = models.TextField()
    shared = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "saved_filters"
        ordering = ["name", "created_at", "id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["owner", "list", "name"], name="saved_filters_owner_id_list_name_key")
        ]

    def __str__(self) -> str:
        return self.name
