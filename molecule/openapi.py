"""How our credentials look in the OpenAPI description. Importing it is what makes drf-spectacular know."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class Credentials(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "registry.identity.authentication.CredentialAuthentication"
    name = ["bearer", "session"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [{"type": "http", "scheme": "bearer"}, {"type": "apiKey", "in": "cookie", "name": "sessionid"}]
