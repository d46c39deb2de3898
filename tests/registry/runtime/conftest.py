"""Fixtures for tests of the reconciler."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from registry.config import blueprints
from registry.config.blueprints import Blueprint
from registry.config.contents import Content
from registry.models import Deployment
from registry.runtime import claims, reconciler, watch
from registry.runtime.backend import Backend
from registry.runtime.process import ProcessBackend
from tests.conftest import ACTOR
from tests.registry.runtime.fake import FakeBackend

FILES = {"agent.py": Content(b"")}


@pytest.fixture
def fake(settings: Any) -> FakeBackend:
    settings.RUNTIME_BACKEND = "fake"
    return FakeBackend()


@pytest.fixture
def root() -> Iterator[Path]:
    """Not pytest's tmp_path, which the users of agents cannot reach."""
    with tempfile.TemporaryDirectory(prefix="molecule-agents-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "workspaces"


@pytest.fixture
def backend(root: Path) -> ProcessBackend:
    return ProcessBackend(root)


@pytest.fixture
def deploy(db: None) -> Callable[..., UUID]:
    """Creates a workspace with files."""

    def deploy(name: str = "Agent", *children: Blueprint, **fields: Any) -> UUID:
        given: dict[str, Any] = {"files": FILES, "tier": 2}
        wanted = Blueprint(name=name, children=children, **given | fields)
        [created] = blueprints.create([wanted], parent_id=None, actor=ACTOR)
        return created.workspace_id

    return deploy


@pytest.fixture
def rounds(fake: FakeBackend) -> Callable[[], int]:
    """Does what is due, until nothing is, and returns how much that was."""
    return lambda: settle(fake)


def settle(backend: Backend) -> int:
    count, also = 0, [*watch.started(), *watch.ended(backend)]
    while claimed := claims.claim(4, also=also):
        for claim in claimed:
            reconciler.reconcile(claim, backend)
        count, also = count + len(claimed), []
        assert count < 100, "it never comes to rest"
    return count


def row(workspace_id: UUID) -> Deployment:
    return Deployment.objects.get(workspace_id=workspace_id)


def due(workspace_id: UUID) -> None:
    """Its next attempt is now."""
    Deployment.objects.filter(workspace_id=workspace_id).update(next_attempt_at="2000-01-01T00:00:00Z")
