"""Which backend RUNTIME_BACKEND names."""

from django.conf import settings

from registry.runtime.backend import Backend
from registry.runtime.process import ProcessBackend


def configured() -> Backend | None:
    """The backend; None where none is set. molecule.checks refuses other names."""
    if settings.RUNTIME_BACKEND == "process":
        return ProcessBackend(settings.STATE_DIR / "workspaces")
    return None
