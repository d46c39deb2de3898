"""What all request bodies and queries have in common, and the fields that several of them use."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

EMPTY: tuple[Any, ...] = (None, "", [], {})


class RequestFields(serializers.Serializer[Any]):
    """The base of all request bodies and queries. Unknown fields are ignored.

    An optional field that is "" or null counts as not given, unless its value may be that. `never_empty` are those
    for which it is an error instead.
    """

    never_empty: ClassVar[tuple[str, ...]] = ()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            data = {name: value for name, value in data.items() if not self._is_omitted(name, value)}
        return super().to_internal_value(data)

    @classmethod
    def ignored(cls, data: Any) -> list[str]:
        """The names of unknown fields in a body that have a value, such as `color` or `members.2.color`."""
        return _unknown(cls(), data) if isinstance(data, dict) else []

    def _is_omitted(self, name: str, value: Any) -> bool:
        field = self.fields.get(name)
        if field is None or field.required or name in self.never_empty:
            return False
        return (value is None and not field.allow_null) or (value == "" and not getattr(field, "allow_blank", False))


def _unknown(known: serializers.Serializer[Any], data: Mapping[str, Any]) -> list[str]:
    names = []
    for name, value in data.items():
        field = known.fields.get(name)
        if field is None:
            names += [] if value in EMPTY else [name]
        elif isinstance(field, serializers.Serializer) and isinstance(value, dict):
            names += [f"{name}.{inner}" for inner in _unknown(field, value)]
        elif isinstance(field, serializers.ListField) and isinstance(field.child, serializers.Serializer):
            names += [f"{name}.{n}.{inner}" for n, item in enumerate(value) for inner in _unknown(field.child, item)]
    return names


class IgnoredFields(serializers.ListField):
    """The fields of a body that were ignored, in a response."""

    child = serializers.CharField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, help_text="Fields of the request that are unknown.", **kwargs)


class LimitField(serializers.IntegerField):
    """The most rows of a page, 1 to `most`; a number outside counts as the nearest of these."""

    def __init__(self, *, most: int, default: int | None = 100) -> None:
        self.most = most
        super().__init__(default=default, help_text=f"At most {most:,}; more counts as that.")

    def to_internal_value(self, data: Any) -> int:
        return min(max(super().to_internal_value(data), 1), self.most)


class FilterField(serializers.CharField):
    """Values that rows are filtered by; one that is not among `values` matches no row."""

    def __init__(self, values: Iterable[str], **kwargs: Any) -> None:
        text = f"Several of {', '.join(values)}, repeated or separated by commas; another value matches nothing."
        super().__init__(required=False, help_text=text, **kwargs)


class FiniteFloatField(serializers.FloatField):
    """A number that is neither infinite nor NaN, which JSON does not have, nor a boolean."""

    default_error_messages = {"finite": "must be a finite number"}

    def to_internal_value(self, data: Any) -> float:
        number = super().to_internal_value(data)
        if not math.isfinite(number) or isinstance(data, bool):
            self.fail("finite")
        return number
