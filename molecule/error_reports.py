"""Django's page and report for an error, with DEBUG too: they show where it happened, but no values and no settings."""

from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.views.debug import SafeExceptionReporterFilter


class HideValues(SafeExceptionReporterFilter):
    """Shows the types of variables and the names of form fields, as any value may be a secret."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_safe_settings(self) -> dict[str, Any]:
        """None: a setting may be a secret under any name."""
        return {}

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        cleansed = QueryDict(mutable=True)
        for name in request.POST if request else ():
            cleansed[name] = self.cleansed_substitute
        return cleansed

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return {name: f"<{type(value).__name__}>" for name, value in tb_frame.f_locals.items()}.items()
