"""Whom a workspace may talk to, as its page shows it: the same workspaces as discovery tells its agent."""

from collections.abc import Callable

from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.models import Workspace
from registry.organisation import discovery, removal
from registry.structure import hierarchy
from registry.structure.access import Rule

Make = Callable[..., Workspace]


def test_neighbours_are_the_peers_by_what_they_are(make_workspace: Make) -> None:
    top = make_workspace("Top")
    one, two = (make_workspace(name, parent_id=top.id) for name in ("One", "Two"))
    child = make_workspace("Child", parent_id=one.id)
    removal.remove(make_workspace("Gone", parent_id=one.id).id, actor="test", confirm=True)
    make_workspace("Grandchild", parent_id=child.id)
    found = discovery.neighbours(one, 10)
    assert {rule: [name for _id, name in some.first] for rule, some in found.items()} == {
        Rule.PARENT: ["Top"],
        Rule.SIBLINGS: ["Two"],
        Rule.CHILD: ["Child"],
    }
    for workspace in (top, one, two, child):
        ids = {str(one_id) for some in discovery.neighbours(workspace, 10).values() for one_id, _name in some.first}
        assert ids == {peer["id"] for peer in discovery.peers(workspace.id)}


def test_many_are_counted_and_the_first_are_named(make_workspace: Make) -> None:
    one = make_workspace("One")
    for name in ("c", "a", "b"):
        make_workspace(name)
    with CaptureQueriesContext(connection) as captured:
        (roots,) = discovery.neighbours(one, 2).values()
    assert (roots.total, [name for _id, name in roots.first]) == (3, ["a", "b"])
    assert len(captured) == 1


def test_ancestors_are_named_from_the_root(make_workspace: Make) -> None:
    top = make_workspace("a")
    middle = make_workspace("b", parent_id=top.id)
    leaf = make_workspace("c", parent_id=middle.id)
    assert hierarchy.ancestors(leaf.id) == [(top.id, "a"), (middle.id, "b")]
    assert hierarchy.ancestors(top.id) == []
