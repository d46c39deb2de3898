"""Fields of the registry API: each has the rule of one kind of value."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from activity.fields import FiniteFloatField
from activity.parameters import query_time
from registry.liveness.heartbeats import WEDGED
from registry.models import DEFAULT_TIER, no_line_breaks, secret_key_name
from registry.organisation.agent_cards import check_size
from registry.secrets.store import MAX_VALUE_BYTES
from registry.structure.text import MAX_NAME, MAX_ROLE, clean_name, clean_role, shortened_name
from registry.structure.urls import MAX_URL, validate_agent_url

MAX_NEW_SECRETS = 100
"""For one new workspace."""
MAX_COORDINATE = 1e7
MAX_SEQ_DIGITS = 19


class AgentUrlField(serializers.CharField):
    """The URL of an agent; registry/structure/urls.py has the rule."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_URL, validators=[validate_agent_url], **kwargs)


class AgentCardField(serializers.JSONField):
    """An A2A Agent Card, stored unchanged: a JSON object whose `name` follows the rule for names.

    Its size is checked first, so that one that is too large is TooLarge whatever else is wrong with it.
    """

    default_error_messages = {
        "object": "must be a JSON object",
        "name": "must have a non-empty name",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        check_size(data)
        if not isinstance(data, dict):
            self.fail("object")
        name = data.get("name")
        if not isinstance(name, str) or not name.strip():
            self.fail("name")
        try:
            shortened_name(name)
        except DjangoValidationError as error:
            raise serializers.ValidationError(f"its name {error.messages[0]}") from None
        return data


class TierField(serializers.IntegerField):
    """An integer from 1 to 4; 0 means `zero`, the default tier."""

    def __init__(self, *, zero: int = DEFAULT_TIER, **kwargs: Any) -> None:
        self.zero = zero
        super().__init__(min_value=0, max_value=4, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        return super().to_internal_value(data) or self.zero


class RoleField(serializers.CharField):
    """A role or null; "" becomes null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, allow_blank=True, max_length=MAX_ROLE, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return clean_role(super().to_internal_value(data))

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(data) or None


class Coordinate(FiniteFloatField):
    """A place on the canvas, along one axis."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=-MAX_COORDINATE, max_value=MAX_COORDINATE, **kwargs)


class NameField(serializers.CharField):
    """One line of 1-255 characters; registry/structure/text.py has the rule."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return clean_name(super().to_internal_value(data))


class RuntimeField(serializers.CharField):
    """What runs the agent; null becomes "", which means unknown."""

    def __init__(self, **kwargs: Any) -> None:
        options: dict[str, Any] = {"max_length": 100, "validators": [no_line_breaks]}
        super().__init__(allow_blank=True, allow_null=True, **options, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(data) or ""


class RuntimeStateField(serializers.CharField):
    """Whether the agent says that its runtime is wedged; other states count as nothing special."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="is_wedged", default="", **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(data) == WEDGED


class BoundedList(serializers.ListField):
    """A list that checks its length before its items."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            message = self.error_messages["max_length"].format(max_length=self.max_length)
            raise serializers.ValidationError(message, code="max_length")
        return super().to_internal_value(data)


class SecretValueField(serializers.CharField):
    """The value of a secret, 1 byte to 64 KiB, stored as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, write_only=True, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise serializers.ValidationError(f"must not be longer than {MAX_VALUE_BYTES // 1024} KiB")
        return value


class SecretsField(serializers.DictField):
    """Secrets to store, at most 100: values by key."""

    child = SecretValueField()

    def to_internal_value(self, data: Any) -> dict[str, str]:
        secrets: dict[str, str] = super().to_internal_value(data)
        if len(secrets) > MAX_NEW_SECRETS:
            raise serializers.ValidationError(f"must be at most {MAX_NEW_SECRETS}, are {len(secrets)}")
        for key in secrets:
            try:
                secret_key_name(key)
            except DjangoValidationError as error:
                raise serializers.ValidationError({key: error.messages}) from None
        return secrets


@extend_schema_field(str)
class MomentField(serializers.Field[int | datetime, Any, Any, Any]):
    """A position in the event log, or an ISO time."""

    default_error_messages = {"invalid": "must be a position (seq) or an ISO time"}

    def to_internal_value(self, data: Any) -> int | datetime:
        text = str(data)
        if text.isascii() and text.isdigit() and len(text) < MAX_SEQ_DIGITS:
            return int(text)
        moment = query_time(text)
        if moment is None:
            self.fail("invalid")
        return moment
