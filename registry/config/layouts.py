"""Places of cards on the canvas, as far as bundles contain them. The canvas stores them, and says here how."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a card is, and whether its team is folded."""

    x: float
    y: float
    collapsed: bool = False

    def shifted(self, by: float) -> "Place":
        """The place a little to the right and below."""
        return replace(self, x=self.x + by, y=self.y + by)


class Layouts(Protocol):
    """What stores places."""

    def places(self, workspace_ids: Collection[UUID]) -> Mapping[UUID, Place]:
        """The places of those that have one."""

    def place_all(self, places: Mapping[UUID, Place]) -> None:
        """Store the places of workspaces that this transaction created."""


class _NoLayouts:
    def places(self, workspace_ids: Collection[UUID]) -> Mapping[UUID, Place]:
        return {}

    def place_all(self, places: Mapping[UUID, Place]) -> None:
        return


class _Chosen:
    layouts: Layouts = _NoLayouts()


def use(layouts: Layouts) -> None:
    """Store places there from now on."""
    _Chosen.layouts = layouts


def places(workspace_ids: Collection[UUID]) -> Mapping[UUID, Place]:
    """The places of those that have one."""
    return _Chosen.layouts.places(workspace_ids)


def place_all(wanted: Mapping[UUID, Place]) -> None:
    """Store the places of workspaces that this transaction created."""
    if wanted:
        _Chosen.layouts.place_all(wanted)
