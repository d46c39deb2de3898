"""Our credentials in the OpenAPI description. drf-spectacular registers the class when this module is imported."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class Credentials(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "registry.identity.authentication.CredentialAuthentication"
    name = ["bearer", "session"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer"},
            {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        ]
