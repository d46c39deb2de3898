"""Places of cards and the viewport: saved and broadcast, never recorded as structure events."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from rest_framework.test import APIClient

from activity.models import StructureEvent
from canvas import layout
from canvas.models import CanvasLayout, CanvasViewport
from registry.exceptions import Removed
from registry.models import Workspace
from registry.organisation import removal

Make = Callable[..., Workspace]


def test_the_viewport_starts_at_the_origin_and_is_saved(as_operator: APIClient) -> None:
    assert as_operator.get("/canvas/viewport").json() == {"x": 0.0, "y": 0.0, "zoom": 1.0}
    for zoom in (0.05, 10):
        assert as_operator.put("/canvas/viewport", {"x": 1, "y": -2.5, "zoom": zoom}).json() == {"status": "saved"}
        assert as_operator.get("/canvas/viewport").json() == {"x": 1.0, "y": -2.5, "zoom": zoom}
    assert CanvasViewport.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_first_saves_create_one_row() -> None:
    start = threading.Barrier(4)

    def save(number: int) -> None:
        start.wait(10)
        layout.save_viewport(x=number, y=0, zoom=1)
        connection.close()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert CanvasViewport.objects.count() == 1


def test_the_database_refuses_a_second_viewport(db: None) -> None:
    CanvasViewport.objects.create()
    with pytest.raises(IntegrityError), transaction.atomic():
        CanvasViewport.objects.create()


@pytest.mark.django_db(transaction=True)
def test_layout_is_broadcast_and_not_recorded(
    make_workspace: Make, broadcasts: Callable[[], list[dict[str, Any]]]
) -> None:
    workspace = make_workspace()
    recorded = StructureEvent.objects.count()
    broadcasts()
    layout.place(workspace.id, x=1.0, y=2.0)
    layout.place(workspace.id, collapsed=True)
    layout.save_viewport(x=1, y=2, zoom=3)
    received = [(message["event"], message["seq"], message["payload"]) for message in broadcasts()]
    assert received == [
        ("LAYOUT_UPDATED", None, {"x": 1.0, "y": 2.0, "collapsed": False}),
        ("LAYOUT_UPDATED", None, {"x": 1.0, "y": 2.0, "collapsed": True}),
        ("VIEWPORT_UPDATED", None, {"x": 1, "y": 2, "zoom": 3}),
    ]
    assert StructureEvent.objects.count() == recorded


def test_a_removal_deletes_the_layout_and_prevents_a_new_one(make_workspace: Make) -> None:
    workspace = make_workspace()
    layout.place(workspace.id, x=1.0, y=2.0)
    removal.remove(workspace.id, actor="test", confirm=True)
    assert not CanvasLayout.objects.exists()
    with pytest.raises(Removed):
        layout.place(workspace.id, x=1.0, y=2.0)
    assert not CanvasLayout.objects.exists()
