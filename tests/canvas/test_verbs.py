"""The verbs that the canvas offers: the admin's, as data in the page, for those who may act."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import resolve
from rest_framework.test import APIClient

from molecule.policy import POLICY
from registry.models import Workspace
from registry.organisation.verbs import MOVE, VERBS

Make = Callable[..., Workspace]
MakeUser = Callable[..., User]
DATA = re.compile(r'<script id="verbs" type="application/json">(.*?)</script>')


def verbs_for(user: User, client: Client) -> list[dict[str, Any]]:
    """Those of the page, which has its data once or not at all."""
    client.force_login(user)
    page = client.get("/").content.decode()
    assert 'id="view"' in page
    return [verb for text in DATA.findall(page) for verb in json.loads(text)]


def test_the_page_has_the_verbs_as_data(make_user: MakeUser, client: Client) -> None:
    found = {verb["name"]: verb for verb in verbs_for(make_user("operator"), client)}
    assert list(found) == [verb.name for verb in VERBS]
    assert found["resume"]["statuses"] == ["paused"]
    assert found["pause"]["opposite"] == "resume"
    assert found["move"]["can_be_undone"]
    assert found["restart"]["only_run_here"]
    assert (found["remove"]["includes_root"], found["collapse"]["includes_root"]) == (True, False)
    assert all("removed" not in verb["statuses"] for verb in found.values())


def test_who_may_only_view_gets_no_verbs(make_user: MakeUser, client: Client) -> None:
    assert verbs_for(make_user("viewer"), client) == []


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_each_verb_has_a_route_for_operators(verb: Any, make_workspace: Make) -> None:
    path = verb.path.partition("?")[0].replace("{id}", str(make_workspace().id))
    assert POLICY[str(resolve(path).url_name)][verb.method].who.split() == ["O"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb is not MOVE], ids=lambda verb: verb.name)
def test_a_route_acts_where_the_verb_says(verb: Any, as_operator: APIClient, make_workspace: Make) -> None:
    """Where it applies; else the route refuses it as well."""
    status = "online" if "online" in verb.statuses else min(verb.statuses)
    lead = make_workspace("Lead", status=status)
    make_workspace("Member", parent_id=lead.id, status=status)
    answer = as_operator.generic(verb.method, verb.path.replace("{id}", str(lead.id)), "{}", "application/json")
    assert answer.status_code == (409 if verb.only_run_here else 200), answer.content
    changed = dict(Workspace.objects.exclude(status=status).values_list("name", "status"))
    acts_on = {"Lead": verb.includes_root, "Member": verb.includes_team}
    assert changed.keys() == {name for name, acts in acts_on.items() if acts and not verb.only_run_here}


def test_a_move_says_how_it_is_undone(as_operator: APIClient, make_workspace: Make) -> None:
    one, lead = make_workspace("One"), make_workspace("Lead")
    path = f"/workspaces/{one.id}"
    moved = as_operator.patch(path, {"parent_id": str(lead.id), "x": 5, "y": 7}, format="json").json()
    undone = as_operator.post(f"{path}/undo", {"event_ids": moved["event_ids"]}, format="json")
    assert undone.status_code == 200, undone.content
    assert Workspace.objects.get(id=one.id).parent_id is None
    assert "event_ids" not in as_operator.patch(path, {"x": 1, "y": 2}, format="json").json()
