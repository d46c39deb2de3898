"""GET /search: what somebody looks for while they type."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.db.models import Q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Workspace
from registry.organisation import filters, removal
from registry.organisation.search import MOST, search

Make = Callable[..., Workspace]
MANY = """
INSERT INTO workspaces (name, role) SELECT 'Agent ' || n, 'Reads invoice ' || 7 * n FROM generate_series(1, %s) AS n
"""
HOT = "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'workspaces'"


def names(text: str) -> list[str]:
    return [hit.name for hit in search(text)]


def test_the_best_matches_come_first(make_workspace: Make) -> None:
    for name in ("Repay", "The payer", "Payments", "pay"):
        make_workspace(name)
    make_workspace("Other", role="Pays invoices")
    make_workspace("Unrelated")
    assert names("PAY") == ["pay", "Payments", "The payer", "Repay", "Other"]


def test_words_may_be_in_any_order_and_in_the_role(make_workspace: Make) -> None:
    make_workspace("Billing lead", role="Reconciles invoices")
    make_workspace("Lead of billing")
    assert names("lead billing") == ["Billing lead", "Lead of billing"]
    assert names("  lead   of  ") == ["Lead of billing"]
    assert names("lead invoices") == ["Billing lead"]
    assert names("lead nothing") == []


@pytest.mark.parametrize("length", [6, 8, 13, 36])
def test_an_id_is_found_by_how_it_begins(make_workspace: Make, length: int) -> None:
    workspace = make_workspace("Found")
    make_workspace("Other")
    assert names(str(workspace.id)[:length].upper()) == ["Found"]


def test_fewer_characters_of_an_id_find_nothing(make_workspace: Make) -> None:
    workspace = make_workspace("Xyz")
    assert names(str(workspace.id)[:5]) == []


@pytest.mark.parametrize("text", ["", "  ", "%", "_", "a+", "(", "\\", "[x]", "*"])
def test_no_character_has_a_meaning_of_its_own(make_workspace: Make, text: str) -> None:
    make_workspace("Plain")
    assert names(text) == []


def test_signs_are_found_as_they_are(make_workspace: Make) -> None:
    make_workspace("C++ (legacy) 100 %")
    assert names("c++ (leg") == names("(legacy)") == names("100 %") == ["C++ (legacy) 100 %"]


def test_a_hit_has_its_path_and_status(make_workspace: Make, as_viewer: APIClient) -> None:
    top = make_workspace("Top")
    team = make_workspace("Team", parent_id=top.id)
    member = make_workspace("Member", parent_id=team.id, role="Works")
    [hit] = as_viewer.get("/search?q=member").json()["workspaces"]
    assert hit.pop("enrolment_expires_at") == member.enrolment_expires_at
    assert hit == {
        "id": str(member.id), "name": "Member", "role": "Works", "path": ["Top", "Team"], "status": "provisioning"
    }  # fmt: skip


def test_removed_workspaces_are_not_found(make_workspace: Make) -> None:
    removal.remove(make_workspace("Gone").id, actor="test", confirm=False)
    assert names("gone") == []


def test_there_are_at_most_twelve(make_workspace: Make, as_viewer: APIClient) -> None:
    for number in range(MOST + 1):
        make_workspace(f"Many {number:02}")
    assert len(as_viewer.get("/search?q=many&limit=999").json()["workspaces"]) == MOST
    hits = as_viewer.get("/search?q=many&limit=2").json()["workspaces"]
    assert [hit["name"] for hit in hits] == ["Many 00", "Many 01"]
    assert as_viewer.get("/search").json() == {"workspaces": []}
    assert as_viewer.get("/search", {"q": "x" * 201}).status_code == 400


def test_agents_and_anonymous_callers_may_not_search(anonymous: APIClient) -> None:
    assert anonymous.get("/search?q=x").status_code == 401


def insert(count: int) -> None:
    """Workspaces as in life, at least in what a search reads."""
    with connection.cursor() as cursor:
        cursor.execute(MANY, [count])
        cursor.execute("ANALYZE workspaces")


def plan(text: str) -> str:
    return filters.search(Workspace.objects.active(), text).explain()


@pytest.mark.parametrize("text", ["77", "agent 77", "reads 42", "Agent 4242 invoices", "a 977"])
def test_a_search_reads_few_rows_of_many(make_workspace: Make, text: str) -> None:
    insert(5000)
    assert "workspaces_search_idx" in plan(text)


def test_one_character_is_searched_in_every_row(make_workspace: Make) -> None:
    insert(50)
    assert len(search("7")) == MOST


def test_heartbeats_do_not_touch_the_index(make_workspace: Make) -> None:
    """Such updates are HOT: they write no index."""
    workspace = make_workspace("Agent", role="Reads")
    with connection.cursor() as cursor:
        cursor.execute(HOT)
        [before] = cursor.fetchone()
    heartbeats.flush([Beat(workspace_id=workspace.id, current_task="x")])
    with connection.cursor() as cursor:
        cursor.execute(HOT)
        assert cursor.fetchone()[0] > before


ALPHABET = st.text(alphabet="aAbBßẞ\u0131İi\u03c3ςΣ77%_\\ 'ﬁǅ🧪é\u0301-", min_size=1, max_size=8)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(names=st.lists(ALPHABET, min_size=1, max_size=6), text=ALPHABET)
def test_the_index_changes_no_result(names: list[str], text: str, make_workspace: Make) -> None:
    with transaction.atomic():
        Workspace.objects.bulk_create(
            Workspace(name=name, role=role) for name, role in zip(names, [*names[1:], None], strict=True)
        )
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
        found = set(filters.search(Workspace.objects.active(), text))
        rows = Workspace.objects.active()
        for word in text.split():
            rows = rows.filter(Q(name__icontains=word) | Q(role__icontains=word) | filters.has_id(word))
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = on")
            cursor.execute("SET LOCAL enable_indexscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
        assert found == set(rows)
        transaction.set_rollback(True)
