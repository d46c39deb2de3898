"""An operator who renames, moves, pauses, resumes, removes and adds workspaces, and remembers what was acknowledged."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

PAUSE_SECONDS = 0.15
REMOVAL_PROBABILITY = 0.5
"""That a chosen removal is sent: fewer removals than additions."""
# Cycles, workspaces that are paused or removed already, and 503 while something is down.
EXPECTED = (200, 201, 400, 404, 409, 410, 503)


class Churn:
    def __init__(self, urls: list[str], token: str, ids: list[str], seed: int, adopt: Callable[..., None]) -> None:
        self.urls = urls
        self.ids = list(ids)
        self.chance = random.Random(f"{seed} churn")
        self.adopt = adopt
        self.headers = {"Authorization": f"Bearer {token}"}
        self.names: dict[str, str] = {}
        """Acknowledged renames: new name → workspace."""
        self.removed: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="churn")
        self._client = httpx.Client(headers=self.headers, timeout=10)

    def __enter__(self) -> "Churn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        verbs = [self.rename, self.move, self.pause, self.resume, self.resume, self.remove, self.add]
        while not self._stop.wait(self.chance.uniform(0.5, 1.5) * PAUSE_SECONDS):
            self.number += 1
            self.chance.choice(verbs)(self.chance.choice(self.ids))

    def rename(self, who: str) -> None:
        name = f"Renamed {self.number}"
        if self.ask("PATCH", f"/workspaces/{who}", {"name": name}):
            self.names[name] = who

    def move(self, who: str) -> None:
        self.ask("PATCH", f"/workspaces/{who}", {"parent_id": self.chance.choice([*self.ids, None])})

    def pause(self, who: str) -> None:
        self.ask("POST", f"/workspaces/{who}/pause")

    def resume(self, who: str) -> None:
        self.ask("POST", f"/workspaces/{who}/resume")

    def remove(self, who: str) -> None:
        """Works only without a team below, and is not sent often, so that most workspaces stay."""
        if self.chance.random() >= REMOVAL_PROBABILITY:
            return
        if self.ask("DELETE", f"/workspaces/{who}"):
            self.removed.add(who)

    def add(self, parent: str) -> None:
        answer = self.ask("POST", "/workspaces", {"name": f"Added {self.number}", "parent_id": parent})
        if answer is not None:
            self.ids.append(answer["id"])
            self.adopt(answer["id"], answer["enrolment_token"])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a successful answer, else None."""
        url = self.urls[self.number % len(self.urls)]
        try:
            answer = self._client.request(method, url + path, json=body)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        if answer.status_code not in EXPECTED:
            self.unexpected.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.is_success else None
