"""A backend in memory for tests of the reconciler: it runs nothing, and fails as it is told."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from registry.runtime.backend import Backend, BackendError, Capabilities, Liveness, Observation, Paths, Resource, Spec


class FakeBackend(Backend):
    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = Capabilities(tiers=frozenset({1, 2}), limits_cpu=True)

    def __init__(self) -> None:
        self.running: dict[UUID, Resource] = {}
        self.dead: dict[UUID, Observation] = {}
        self.specs: dict[UUID, Spec] = {}
        self.started: Counter[UUID] = Counter()
        self.calls: list[tuple[str, UUID]] = []
        self.errors: dict[str, BackendError] = {}
        self.is_unknown = False
        self.log = ""
        self.before: Callable[[str], object] = lambda method: None
        self._mutex = threading.Lock()

    def paths(self, workspace_id: UUID, tier: int) -> Paths:
        return Paths(configs="/configs", plugins="/plugins", workspace="/workspace")

    def check(self, spec: Spec) -> None:
        self._fail("check")

    def prepare(self, spec: Spec) -> None:
        self.before("prepare")
        self._fail("prepare")

    def start(self, spec: Spec, created: Callable[[Resource], None]) -> Resource:
        self._call("start", spec.workspace_id)
        with self._mutex:
            found = self.running.get(spec.workspace_id)
            resource = found or Resource(
                workspace_id=spec.workspace_id,
                generation=spec.generation,
                resource_id=f"fake-{self.started[spec.workspace_id]}",
                url=f"http://127.0.0.1:{9000 + self.started[spec.workspace_id]}",
            )
            created(resource)
            if found is None:
                self.started[spec.workspace_id] += 1
            self.running[spec.workspace_id], self.specs[spec.workspace_id] = resource, spec
            self.dead.pop(spec.workspace_id, None)
        return resource

    def stop(self, workspace_id: UUID) -> None:
        self._call("stop", workspace_id)
        self.running.pop(workspace_id, None)
        self.dead.pop(workspace_id, None)

    def remove(self, workspace_id: UUID) -> None:
        self._call("remove", workspace_id)
        self.running.pop(workspace_id, None)
        self.dead.pop(workspace_id, None)

    def probe(self, workspace_id: UUID) -> Observation:
        if self.is_unknown:
            return Observation(liveness=Liveness.UNKNOWN, detail="the engine does not answer")
        if workspace_id in self.running:
            return Observation(liveness=Liveness.ALIVE, resource=self.running[workspace_id])
        return self.dead.get(workspace_id, Observation(liveness=Liveness.DEAD, detail="nothing runs"))

    def list_owned(self) -> list[Resource]:
        return list(self.running.values())

    def logs(self, workspace_id: UUID, *, lines: int) -> str:
        return self.log

    def die(self, workspace_id: UUID, how: str = "exited with status 3") -> None:
        """The agent ends."""
        resource = self.running.pop(workspace_id)
        self.dead[workspace_id] = Observation(liveness=Liveness.DEAD, resource=resource, detail=how)

    def _call(self, method: str, workspace_id: UUID) -> None:
        self.before(method)
        self.calls.append((method, workspace_id))
        self._fail(method)

    def _fail(self, method: str) -> None:
        if method in self.errors:
            raise self.errors[method]
