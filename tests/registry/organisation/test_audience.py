"""Agents receive exactly the events that access.rule() permits at that position, for any tree and any moves."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from activity import bus
from activity.hub import Hub, read_page
from activity.models import StructureEvent
from activity.outbox import NOT_ALLOWED, Frame
from activity.principals import Kind, Principal
from activity.stream import Refused
from registry.identity import tokens
from registry.models import OperatorToken, Workspace
from registry.organisation import audience, removal, teams, workspaces
from registry.organisation.audience import Teams
from registry.organisation.teams import Member
from registry.structure.access import Rule, rule
from tests.activity.sockets import Client, listening

Make = Callable[..., Workspace]
Parents = dict[UUID, UUID | None]
ACTOR = "operator:test"
IDS = [UUID(int=number + 1) for number in range(8)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "move", "move", "remove", "online", "expand", "task", "layout"]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    min_size=20,
    max_size=80,
)


class Organisation:
    """A hub with an agent's socket for every id, and the hierarchy as plain dictionaries to compare with."""

    def __init__(self) -> None:
        self.hub = Hub(Teams())
        self.parents: Parents = {}
        self.removed: set[UUID] = set()
        self.clients = {own: Client() for own in IDS}
        self.expected: dict[UUID, list[str]] = {own: [] for own in IDS}
        for own, client in self.clients.items():
            listener = listening(client, member=str(own))
            self.hub.add(listener)
            assert self.hub.subscribe(listener)

    def step(self, act: str, first: int, second: int) -> None:
        """One change, if it is possible; the numbers choose the workspaces."""
        uncreated, active = [own for own in IDS if own not in self.parents], list(self.active())
        other = [None, *active][second % (len(active) + 1)]
        if act == "create" and uncreated:
            self.happen("WORKSPACE_PROVISIONING", uncreated[0], {"parent_id": text(other)}, after={uncreated[0]: other})
        elif act != "create" and active:
            self.change(act, active[first % len(active)], other)

    def change(self, act: str, own: UUID, other: UUID | None) -> None:
        if act == "move":
            if other != self.parents[own] and own not in self.upwards(other):
                payload = {"old_parent_id": text(self.parents[own]), "new_parent_id": text(other)}
                self.happen("WORKSPACE_MOVED", own, payload, after={own: other})
        elif act == "remove":
            for going in sorted(self.active(), key=lambda one: -len(self.upwards(one))):
                if own in self.upwards(going):
                    self.happen("WORKSPACE_REMOVED", going, {"forwarded_to": None}, gone=going)
        else:
            kinds = {"online": "WORKSPACE_ONLINE", "expand": "WORKSPACE_EXPANDED"}
            transient = {"task": "TASK_UPDATED", "layout": "LAYOUT_UPDATED"}
            self.happen(kinds.get(act) or transient[act], own, {}, is_persisted=act in kinds)

    def happen(
        self,
        event: str,
        own: UUID,
        payload: dict[str, Any],
        *,
        after: Parents | None = None,
        gone: UUID | None = None,
        is_persisted: bool = True,
    ) -> None:
        before, position = self.active(), self.hub.position
        self.parents |= after or {}
        now = self.active()
        seq = position + 1 if is_persisted else None
        mark = f"{event} {sum(map(len, self.expected.values()))} {seq}"
        for listener in IDS:
            if self.may_receive(listener, own, event, before, now):
                self.expected[listener].append(mark)
        if gone is not None:
            self.removed.add(gone)
        message = bus.encode({"event": event, "seq": seq, "payload": payload, "mark": mark})
        self.hub.dispatch({"type": "events", "after": position, "frames": [[seq, event, str(own), message]]})

    def may_receive(self, listener: UUID, own: UUID, event: str, before: Parents, now: Parents) -> bool:
        if listener in self.removed or event == "LAYOUT_UPDATED":
            return False
        if event == "WORKSPACE_EXPANDED":
            return rule(listener, own, now) in (Rule.SELF, Rule.PARENT)
        return any(rule(listener, own, then) != Rule.NONE for then in (before, now))

    def active(self) -> Parents:
        return {own: parent for own, parent in self.parents.items() if own not in self.removed}

    def upwards(self, own: UUID | None) -> list[UUID]:
        path: list[UUID] = []
        while own is not None:
            path.append(own)
            own = self.parents[own]
        return path


def text(own: UUID | None) -> str | None:
    return None if own is None else str(own)


@given(STEPS)
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_every_agent_receives_exactly_what_the_hierarchy_permits(steps: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        organisation = Organisation()
        for act, first, second in steps:
            organisation.step(act, first, second)
        organisation.hub.flush()
        for own, client in organisation.clients.items():
            assert [message["mark"] for message in client.heard] == organisation.expected[own]
            assert (client.code == NOT_ALLOWED) == (own in organisation.removed)

    asyncio.run(play())


@pytest.fixture
def organisation(make_workspace: Make) -> dict[str, UUID]:
    """Two trees, with a move, a restart, a removal and a team in their past."""
    made = {"root": make_workspace("root").id, "other": make_workspace("other").id}
    for name, parent in (("child", "root"), ("sibling", "root"), ("grandchild", "child"), ("cousin", "sibling")):
        made[name] = make_workspace(name, parent_id=made[parent]).id
    workspaces.update(made["cousin"], {"parent_id": made["child"]}, actor=ACTOR)
    workspaces.update(made["grandchild"], {"name": "renamed"}, actor=ACTOR)
    made["leaver"] = make_workspace("leaver", parent_id=made["root"]).id
    workspaces.update(made["leaver"], {"parent_id": made["other"]}, actor=ACTOR)
    made["member"] = teams.expand(made["other"], [Member(name="member")], actor=ACTOR)[0].id
    removal.remove(made["sibling"], actor=ACTOR, confirm=True, forward_to=made["child"])
    return made


def the_log() -> list[Frame]:
    return read_page(StructureEvent.objects.all())[0]


def test_loading_the_rows_equals_folding_the_log(organisation: dict[str, UUID]) -> None:
    loaded, folded = Teams(), Teams()
    newest = StructureEvent.objects.order_by("-seq")[0]
    assert loaded.load() == (newest.seq, str(newest.id))
    for frame in the_log():
        folded.fold(frame)
    assert loaded.parents == folded.parents
    loaded.load_removed(map(str, organisation.values()))
    assert loaded.removed_parents == folded.removed_parents == {str(organisation["sibling"]): str(organisation["root"])}


def test_what_was_removed_is_not_kept(organisation: dict[str, UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MAX_REMOVED", 2)
    folded = Teams()
    for frame in the_log():
        folded.fold(frame)
    for name in ("grandchild", "cousin", "child", "root"):
        own = str(organisation[name])
        assert not folded.fold(Frame("{}", 10**6, "WORKSPACE_ONLINE", own))
        assert folded.fold(Frame("{}", 10**6, "WORKSPACE_REMOVED", own))
        assert folded.groups_of(own) is None
        assert own in folded.groups_for(Frame("{}", 10**6, "WORKSPACE_REMOVED", own))
    assert len(folded.removed_parents) == 2
    removal.remove(organisation["root"], actor=ACTOR, confirm=True)
    loaded = Teams()
    loaded.load()
    assert set(loaded.parents) == {str(organisation[name]) for name in ("other", "leaver", "member")}


def test_an_agents_backlog_is_read_by_indexes(make_workspace: Make) -> None:
    """Its events are few in a long log, most of which is about others."""
    lead = make_workspace("lead")
    own = make_workspace("own", parent_id=lead.id).id
    strangers = make_workspace("strangers")
    make_workspace("stranger", parent_id=strangers.id)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO structure_events (event_type, workspace_id, payload, actor)
            SELECT 'WORKSPACE_OFFLINE', id, '{"from": "online"}', 'test'
            FROM generate_series(1, 10000), workspaces WHERE name = 'stranger'
            """
        )
        cursor.execute("ANALYZE structure_events, workspaces")
    loaded = Teams()
    loaded.load()
    events = loaded.backlog(StructureEvent.objects.filter(seq__gt=0, seq__lte=10**9), str(own)).order_by("seq")[:500]
    (plan,) = json.loads(events.explain(format="json", analyze=True))
    touched = [node for node in nodes(plan["Plan"]) if node.get("Relation Name") == "structure_events"]
    assert touched
    for node in touched:
        assert node["Node Type"] != "Seq Scan"
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        assert rows * node["Actual Loops"] < 100, node


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def test_without_workspaces_the_position_is_0(db: None) -> None:
    assert Teams().load() == (0, None)


def test_the_backlog_of_an_agent_is_what_it_may_receive_now(organisation: dict[str, UUID]) -> None:
    loaded = Teams()
    loaded.load()
    received: dict[str, set[str]] = {}
    for name, own in organisation.items():
        member = str(own)
        loaded.load_removed(map(str, organisation.values()))
        groups = set(loaded.groups_of(member) or ())
        everything = [frame.seq for frame in the_log() if not groups.isdisjoint(loaded.groups_for(frame))]
        chosen, _more = read_page(loaded.backlog(StructureEvent.objects.all(), member))
        narrowed = [frame for frame in chosen if not groups.isdisjoint(loaded.groups_for(frame))]
        assert [frame.seq for frame in narrowed] == everything
        received[name] = {frame.workspace_id or "" for frame in narrowed}
    ids = {name: str(own) for name, own in organisation.items()}
    family = {"root", "child", "sibling", "grandchild", "cousin", "leaver"}
    assert received["child"] == {ids[name] for name in family}
    assert received["grandchild"] == {ids[name] for name in ("child", "grandchild", "cousin")}
    assert received["member"] == {ids[name] for name in ("other", "member", "leaver")}
    assert received["sibling"] == set()


def test_only_the_team_receives_the_names_of_its_members(organisation: dict[str, UUID]) -> None:
    """Otherwise other roots would learn who works below this one."""
    loaded = Teams()
    loaded.load()
    (expanded,) = [frame for frame in the_log() if frame.event == "WORKSPACE_EXPANDED"]
    assert loaded.groups_for(expanded) == (str(organisation["other"]),)


def test_sockets_with_a_revoked_token_are_unauthorized(make_workspace: Make, django_assert_num_queries: Any) -> None:
    own = make_workspace().id
    issued = [tokens.issue_workspace_token(own).id for _ in range(3)]
    sockets = [
        listening(Client(), member=str(own), principal=Principal(kind=Kind.WORKSPACE, workspace_id=own, token_id=token))
        for token in (*issued, issued[1])
    ]
    tokens.revoke_token(own, issued[1])
    with django_assert_num_queries(1):
        assert Teams().unauthorized(sockets) == [sockets[1], sockets[3]]


def test_the_sockets_of_many_operators_are_checked_in_three_queries(
    make_user: Callable[..., User], django_assert_num_queries: Any
) -> None:
    """Users who signed out, were disabled or lost the permission are no longer authorized."""
    users = [make_user("viewer") for _ in range(30)]
    sockets = []
    for number, user in enumerate(users):
        session = None if number % 2 else signed_in(user)
        token_id = issued_to(user) if number % 2 else None
        principal = replace(tokens.principal_for_user(user), token_id=token_id)
        for _ in range(3):
            socket = listening(Client(), principal=principal)
            socket.session, socket.identify = session, refuse
            sockets.append(socket)
    with django_assert_num_queries(3):
        assert Teams().unauthorized(sockets) == []
    Session.objects.get(session_key=sockets[0].session).delete()
    User.objects.filter(id=users[1].id).update(is_active=False)
    users[2].user_permissions.clear()
    tokens.revoke_operator_token(sockets[9].principal.token_id)  # type: ignore[arg-type]
    users[4].set_password("another")
    users[4].save()
    assert Teams().unauthorized(sockets) == sockets[:15]


def signed_in(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def issued_to(user: User) -> UUID:
    tokens.issue_operator_token(user)
    return OperatorToken.objects.get(user=user).id


def refuse() -> Principal:
    raise Refused(NOT_ALLOWED)


def test_operators_are_checked_once_for_each_credential(db: None) -> None:
    asked: list[str] = []

    def identify(name: str, *, is_good: bool) -> Principal:
        asked.append(name)
        if not is_good:
            raise Refused(NOT_ALLOWED)
        return Principal(kind=Kind.OPERATOR)

    token = Principal(kind=Kind.OPERATOR, token_id=uuid4())
    sockets = [listening(Client(), principal=who) for who in (token, token, Principal(kind=Kind.OPERATOR))]
    sockets[0].identify = lambda: identify("token", is_good=True)
    sockets[2].identify = lambda: identify("session", is_good=False)
    assert Teams().unauthorized(sockets) == [sockets[2]]
    assert asked == ["token", "session"]
