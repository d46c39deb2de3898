"""The hierarchy is the topology."""

from collections.abc import Callable
from uuid import uuid4

from registry.models import Workspace
from registry.structure.access import can_communicate


def test_family_may_talk_and_nobody_else(make_workspace: Callable[..., Workspace]) -> None:
    root, other_root = make_workspace("root"), make_workspace("other root")
    child, sibling = (make_workspace(name, parent_id=root.id) for name in ("child", "sibling"))
    grandchild = make_workspace("grandchild", parent_id=child.id)
    cousin = make_workspace("cousin", parent_id=sibling.id)
    people = [root, other_root, child, sibling, grandchild, cousin]
    allowed = {(a.name, b.name) for a in people for b in people if can_communicate(a.id, b.id)}
    family = [
        ("root", "other root"), ("root", "child"), ("root", "sibling"), ("child", "sibling"),
        ("child", "grandchild"), ("sibling", "cousin"),
    ]  # fmt: skip
    assert allowed == {*family, *((b, a) for a, b in family), *((p.name, p.name) for p in people)}


def test_the_unknown_and_the_removed_talk_to_nobody(make_workspace: Callable[..., Workspace]) -> None:
    one, gone = make_workspace(), make_workspace(status="removed")
    for pair in ((one.id, gone.id), (gone.id, one.id), (gone.id, gone.id), (one.id, uuid4()), (uuid4(), one.id)):
        assert not can_communicate(*pair)
