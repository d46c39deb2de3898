"""Which workspaces may communicate."""

from collections.abc import Callable
from uuid import uuid4

from registry.models import Workspace
from registry.structure.access import can_communicate


def test_a_workspace_may_talk_to_itself_its_parent_children_and_siblings_only(
    make_workspace: Callable[..., Workspace],
) -> None:
    root, other_root = make_workspace("root"), make_workspace("other root")
    child, sibling = (make_workspace(name, parent_id=root.id) for name in ("child", "sibling"))
    grandchild = make_workspace("grandchild", parent_id=child.id)
    cousin = make_workspace("cousin", parent_id=sibling.id)
    everyone = [root, other_root, child, sibling, grandchild, cousin]
    allowed = {(a.name, b.name) for a in everyone for b in everyone if can_communicate(a.id, b.id)}
    pairs = [
        ("root", "other root"), ("root", "child"), ("root", "sibling"), ("child", "sibling"),
        ("child", "grandchild"), ("sibling", "cousin"),
    ]  # fmt: skip
    assert allowed == {*pairs, *((b, a) for a, b in pairs), *((each.name, each.name) for each in everyone)}


def test_unknown_and_removed_workspaces_may_talk_to_none(make_workspace: Callable[..., Workspace]) -> None:
    one, removed = make_workspace().id, make_workspace(status="removed").id
    for pair in ((one, removed), (removed, one), (removed, removed), (one, uuid4()), (uuid4(), one)):
        assert not can_communicate(*pair)
