"""The page of a workspace: its header, and what each tab shows to whom."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from activity import clock, log
from activity.events import NewEvent, record
from activity.log import Entry
from activity.models import ActivityLog, EventType, StructureEvent
from registry.admin.workspace import team
from registry.admin.workspace.tabs import TABS
from registry.identity import enrolment, tokens
from registry.models import Status, Workspace, WorkspaceSecret, WorkspaceToken
from registry.organisation import removal, workspaces
from registry.secrets import store
from registry.structure import projection
from tests.registry.admin.pages import CANARY, Make, change_url, client_with, shown_messages, url_of

NAMES = [tab.name for tab in TABS]
CARD = {
    "name": "Scout",
    "version": "2.1",
    "provider": {"organization": "Acme"},
    "url": "http://scout:1",
    "skills": [{"id": "dig", "name": "Dig deep", "description": "Finds sources", "tags": ["web"]}],
}


def page(client: Client, name: str, workspace: Workspace, **query: Any) -> str:
    answer = client.get(url_of(name, workspace), query)
    assert answer.status_code == 200
    return answer.content.decode()


def tell(workspace: Workspace, kind: EventType, actor: str = "supervisor", **payload: Any) -> StructureEvent:
    event = NewEvent(event_type=kind, workspace_id=workspace.id, payload={"from": "online", **payload})
    (recorded,) = events = record([event], actor=actor)
    projection.apply(events)
    return recorded


# --- Header and tabs ---------------------------------------------------------------------------------


def test_the_header_says_where_it_is_what_it_is_and_why_it_is_so(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    middle = make_workspace("Middle", parent_id=top.id)
    one = make_workspace("One", parent_id=middle.id, role="Digs\nand digs", tier=2, runtime="python", model="m1")
    tell(one, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    for name in NAMES:
        answer = root.get(url_of(name, one))
        header = answer.context["header"]
        assert header.path == [(change_url(top), "Top"), (change_url(middle), "Middle")]
        assert header.facts == ["Digs", "tier 2", "python", "m1"]
        assert header.why == "lease expired"
        html = answer.content.decode()
        assert html.count(">One</h1>") == 1, name
        assert f'data-workspace="{one.id}" data-live-part="workspace-head"' in html
        assert f'href="/?ws={one.id}">Show on canvas</a>' in html


def test_each_tab_has_its_own_address_and_is_marked_there(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    for tab in TABS:
        links = re.findall(r'<a href="([^"]+)"( aria-current="page")?>(\w+)</a>', _tabs_of(page(root, tab.name, one)))
        assert [(label, url) for url, _, label in links] == [(other.label, url_of(other.name, one)) for other in TABS]
        assert [label for _, current, label in links if current] == [tab.label]
    assert url_of("change", one) == change_url(one)


def test_a_tab_is_hidden_from_those_who_may_not_view_its_data(django_user_model: Any, make_workspace: Make) -> None:
    one = make_workspace("One")
    store.set_for_workspace(one.id, "API_KEY", "x" * 10, actor="test")
    log.write(one.id, [Entry(activity_type="a2a_receive", summary="Only for some")])
    bare = client_with(django_user_model, codename="view_workspace")
    shown = re.findall(r">(\w+)</a>", _tabs_of(page(bare, "change", one)))
    assert shown == ["Overview", "Events", "Files", "Team", "Agent", "Settings"]
    for name in ("activity", "secrets", "access"):
        assert bare.get(url_of(name, one)).status_code == 403
    assert "Only for some" not in page(bare, "change", one)


def test_viewers_see_every_tab_and_no_verb(viewer: Client, furnished: Workspace) -> None:
    for name in NAMES:
        html = page(viewer, name, furnished)
        main = html[html.index('id="workspace-head"') :]
        assert not re.search(
            r'name="(chosen|verb|token|_save)"|more-verbs|Connect its agent|>Add |Revoke…|Move…', main
        ), name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_empty_is_shown_of_a_workspace_without_an_agent(root: Client, make_workspace: Make, name: str) -> None:
    """Neither of one that never had an agent, nor of a removed one."""
    new, gone = make_workspace("New"), make_workspace("Gone")
    removal.remove(gone.id, actor="operator:ada", confirm=True)
    for workspace in (new, gone):
        html = page(root, name, workspace)
        shown = html[html.index('id="workspace-head"') :]
        assert not re.search(r">\s*(-|None|never)\s*<", shown)
        assert "Heartbeat" not in shown
        assert "Availability" not in shown


def test_an_unknown_workspace_leads_back_to_the_list(root: Client, db: None) -> None:
    for name in ("x", "7d3f1c9a-0000-4000-8000-000000000001"):
        answer = root.get(f"/admin/registry/workspace/{name}/change/", follow=True)
        assert answer.redirect_chain[-1][0] == reverse("admin:registry_workspace_changelist")
        assert shown_messages(answer) == ["There is no such workspace, or it was removed."]


def test_only_a_get_shows_a_tab(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    for name in ("change", "activity", "events", "team", "agent"):
        assert root.post(url_of(name, one)).status_code == 405


# --- Overview ----------------------------------------------------------------------------------------


def test_it_says_why_a_workspace_is_degraded_and_who_changed_what_before(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", status="online")
    workspaces.update(one.id, {"tier": 3}, actor="operator:leo#7")
    Workspace.objects.filter(id=one.id).update(last_sample_error="Timeout", last_error_rate=0.7)
    began = tell(one, EventType.WORKSPACE_DEGRADED, error_rate=0.7)
    workspaces.update(one.id, {"tier": 4}, actor="operator:later#8")
    why = root.get(change_url(one)).context["why"]
    assert (why.title, why.error) == ("Why it is degraded", "Timeout")
    assert next((entry.actor, entry.summary.title) for entry in why.changes) == ("leo", "Changed tier")
    html = page(root, "change", one)
    assert f'href="/?at={began.seq}&amp;ws={one.id}">Org at this moment</a>' in html
    assert reverse("admin:activity_structureevent_change", args=[why.changes[0].event.pk]) in html
    assert "70% of its calls fail: Timeout" in html
    assert "later" not in [entry.actor for entry in why.changes]


def test_it_says_which_credential_was_refused(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    issued = tokens.issue_workspace_token(one.id)
    enrolment.revoke_token(one.id, issued.id)
    tell(one, EventType.WORKSPACE_OFFLINE, reason="lease expired")
    refused = {"refused_at": clock.now(), "refused_count": 41, "refused_reason": "token revoked"}
    Workspace.objects.filter(id=one.id).update(refused_address="10.0.0.9", **refused)
    html = page(root, "change", one)
    assert "token revoked from 10.0.0.9, 41 times, <time" in html
    assert f"<dt>Token revoked</dt><dd><code>{issued.prefix}</code>" in html


def test_a_calm_workspace_has_no_such_card(root: Client, make_workspace: Make) -> None:
    assert root.get(change_url(make_workspace("One", status="online"))).context["why"] is None


def test_last_calls_name_who_called(root: Client, make_workspace: Make) -> None:
    one, peer = make_workspace("One"), make_workspace("Peer")
    log.write(
        one.id,
        [
            Entry(activity_type="agent_log", summary="No call"),
            Entry(
                activity_type="a2a_receive", source_id=peer.id, method="message/send", summary="Hi", duration_ms=2100
            ),
            Entry(activity_type="a2a_send", source_id=one.id, target_id=peer.id, status="timeout"),
            Entry(activity_type="a2a_receive", source_id=one.id, summary="Of nobody known"),
        ],
    )
    calls = root.get(change_url(one)).context["calls"]
    assert {(call.row.activity_type, call.direction, "Peer" in call.other, call.duration) for call in calls} == {
        ("a2a_receive", "from", True, "2.1 s"),
        ("a2a_send", "to", True, ""),
        ("a2a_receive", "from", False, ""),
    }


def test_it_names_whom_it_may_talk_to(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    one = make_workspace("One", parent_id=lead.id)
    for n in range(7):
        make_workspace(f"Peer {n}", parent_id=lead.id)
    found = dict(root.get(change_url(one)).context["neighbours"])
    assert list(found) == ["Parent", "Siblings"]
    assert str(found["Siblings"]).endswith("and 2 more")
    assert change_url(lead) in found["Parent"]


def test_a_removed_workspace_says_who_removed_it(root: Client, make_workspace: Make) -> None:
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor="operator:ada#1", confirm=True)
    assert root.get(change_url(gone)).context["removal"]["actor"] == "ada"


# --- Activity ----------------------------------------------------------------------------------------


def test_activity_is_that_of_the_workspace_and_is_filtered(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    log.write(other.id, [Entry(activity_type="error", summary="Elsewhere")])
    log.write(one.id, [Entry(activity_type="error", summary="Broke", status="error")])
    log.write(one.id, [Entry(activity_type="agent_log", summary="Worked")])

    def summaries(**query: str) -> list[str | None]:
        return [call.row.summary for call in root.get(url_of("activity", one), query).context["rows"]]

    assert summaries() == ["Worked", "Broke"]
    assert summaries(status="error") == summaries(q="brok") == ["Broke"]
    refused = root.get(url_of("activity", one), {"workspace_id": str(other.id)}, follow=True)
    assert refused.redirect_chain[-1][0] == url_of("activity", one)


def test_pages_of_activity_follow_each_other(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    log.write(one.id, [Entry(activity_type="agent_log", summary=f"{n}") for n in range(120)])
    seen: list[str] = []
    urls = [url_of("activity", one)]
    for url in urls:
        answer = root.get(url)
        seen += [call.row.pk for call in answer.context["rows"]]
        older = answer.context["cl"].older
        urls += [f"{url_of('activity', one)}{older}"] if older else []
    assert (len(urls), len(seen), len(set(seen))) == (3, 120, 120)


def test_one_activity_is_shown_with_request_and_response(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    log.write(one.id, [Entry(activity_type="a2a_send", request_body={"ask": "why"}, response_body={"answer": 42})])
    row = ActivityLog.objects.get()
    url = reverse("admin:registry_workspace_activity", args=[one.id, row.pk])
    html = root.get(url, {"status": "ok"}).content.decode()
    assert '"ask": "why"' in unescape(html)
    assert '"answer": 42' in unescape(html)
    assert f'{url_of("activity", one)}?status=ok">Close</a>' in html
    assert root.get(reverse("admin:registry_workspace_activity", args=[other.id, row.pk])).status_code == 404


# --- Secrets -----------------------------------------------------------------------------------------


def value_of(workspace: Workspace, key: str) -> str:
    secret = WorkspaceSecret.objects.get(workspace=workspace, key=key)
    return store.keyring().unseal(bytes(secret.encrypted_value), context=secret.context()).decode()


def test_own_and_global_secrets_are_listed_with_what_overrides_what(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    for key in ("OWN", "BOTH"):
        store.set_for_workspace(one.id, key, CANARY, actor="test")
    for key in ("BOTH", "SHARED"):
        store.set_for_all(key, CANARY, actor="test")
    answer = root.get(url_of("secrets", one))
    listed = [(row["key"], row["is_own"], row["overrides"]) for row in answer.context["secrets"]]
    assert listed == [("BOTH", True, True), ("OWN", True, False), ("SHARED", False, False)]
    assert CANARY not in answer.content.decode()


def test_global_secrets_are_not_named_to_those_who_may_not_view_them(
    django_user_model: Any, make_workspace: Make
) -> None:
    one = make_workspace("One")
    store.set_for_all("SHARED", CANARY, actor="test")
    few = client_with(django_user_model, codename__in=["view_workspace", "view_workspacesecret"])
    assert "SHARED" not in page(few, "secrets", one)


def test_a_secret_is_added_replaced_and_deleted(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    url = url_of("secrets", one)
    added = root.post(url, {"verb": "add", "key": "API_KEY", "value": CANARY}, follow=True)
    assert shown_messages(added)[0].startswith("Added the secret API_KEY.")
    assert added.redirect_chain[-1][0] == url
    assert value_of(one, "API_KEY") == CANARY
    root.post(url, {"verb": "change", "key": "API_KEY", "value": f"{CANARY}-2\r\n"})
    assert value_of(one, "API_KEY") == f"{CANARY}-2"
    assert "Deleted" in shown_messages(root.post(url, {"verb": "delete", "key": "API_KEY"}, follow=True))[-1]
    assert not WorkspaceSecret.objects.exists()
    assert "no such secret" in shown_messages(root.post(url, {"verb": "delete", "key": "API_KEY"}, follow=True))[-1]
    told = " ".join(entry.change_message for entry in LogEntry.objects.all())
    assert told.count("API_KEY") == 3
    assert CANARY not in told


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"verb": "add", "key": "API_KEY", "value": "sk-other-9"}, "key"),
        ({"verb": "add", "key": "not valid", "value": "sk-other-9"}, "key"),
        ({"verb": "add", "key": "CONFIGS_DIR", "value": "sk-other-9"}, "key"),
        ({"verb": "add", "key": "OTHER", "value": "\r\n"}, "value"),
        ({"verb": "change", "key": "API_KEY", "value": ""}, "value"),
    ],
)
def test_a_refused_secret_is_shown_again_without_its_value(
    root: Client, make_workspace: Make, form: dict[str, str], field: str
) -> None:
    one = make_workspace("One")
    store.set_for_workspace(one.id, "API_KEY", CANARY, actor="test")
    answer = root.post(url_of("secrets", one), form)
    assert answer.status_code == 200
    assert 'class="errorlist"' in answer.content.decode()
    shown = answer.context["new_secret"] if form["verb"] == "add" else answer.context["secrets"][0]["form"]
    assert list(shown.errors) == [field]
    assert "sk-other-9" not in answer.content.decode()
    assert value_of(one, "API_KEY") == CANARY


def test_the_value_of_a_secret_that_is_gone_is_not_stored(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    root.post(url_of("secrets", one), {"verb": "change", "key": "API_KEY", "value": CANARY})
    assert not WorkspaceSecret.objects.exists()


def test_each_verb_on_secrets_needs_its_permission(django_user_model: Any, make_workspace: Make) -> None:
    one = make_workspace("One")
    store.set_for_workspace(one.id, "API_KEY", CANARY, actor="test")
    few = client_with(django_user_model, codename__in=["view_workspace", "change_workspace", "view_workspacesecret"])
    for verb in ("add", "change", "delete", "", "x"):
        form = {"verb": verb, "key": "API_KEY", "value": "sk-other-9"}
        assert few.post(url_of("secrets", one), form).status_code == 403
    html = page(few, "secrets", one)
    assert "API_KEY" in html
    assert not re.search("Replace…|Delete…|Add secret", html)
    assert value_of(one, "API_KEY") == CANARY


# --- Access ------------------------------------------------------------------------------------------


def test_a_token_is_revoked_from_its_workspace(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    issued, foreign = (tokens.issue_workspace_token(row.id) for row in (one, other))
    done = root.post(url_of("access", one), {"token": str(issued.id)}, follow=True)
    assert shown_messages(done) == [f"Revoked {issued.prefix}. Connections opened with it are closed."]
    assert not tokens.has_live_token(one.id)
    again = root.post(url_of("access", one), {"token": str(issued.id)}, follow=True)
    assert shown_messages(again) == [f"Already revoked: {issued.prefix}."]
    for token in (str(foreign.id), "x", ""):
        assert root.post(url_of("access", one), {"token": token}).status_code == 404
    assert tokens.has_live_token(other.id)


def test_revoking_needs_its_permission(django_user_model: Any, make_workspace: Make) -> None:
    one = make_workspace("One")
    issued = tokens.issue_workspace_token(one.id)
    few = client_with(django_user_model, codename__in=["view_workspace", "change_workspace", "view_workspacetoken"])
    assert few.post(url_of("access", one), {"token": str(issued.id)}).status_code == 403
    assert "Revoke…" not in page(few, "access", one)
    assert tokens.has_live_token(one.id)


def test_access_says_until_when_an_agent_may_enrol(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    assert "No agent is awaited." in page(root, "access", one)
    enrolment.issue(one.id)
    assert re.search(r"it expires <time [^>]*>in 23 hours", page(root, "access", one))


def test_hashes_of_tokens_are_not_shown(root: Client, furnished: Workspace) -> None:
    token = WorkspaceToken.objects.get()
    html = page(root, "access", furnished)
    assert token.prefix in html
    assert bytes(token.hash).hex() not in html


# --- Team and agent ----------------------------------------------------------------------------------


def test_members_are_listed_with_their_own_teams(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    one = make_workspace("One", parent_id=lead.id)
    for name in ("a", "b"):
        make_workspace(name, parent_id=one.id)
    removal.remove(make_workspace("Gone", parent_id=lead.id).id, actor="test", confirm=True)
    (row,) = root.get(url_of("team", lead)).context["members"]
    assert (row["id"], row["members"]) == (one.id, 2)


def test_large_teams_have_pages(root: Client, make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "PAGE_SIZE", 2)
    lead = make_workspace("Lead")
    for name in ("a", "b", "c"):
        make_workspace(name, parent_id=lead.id)
    assert len(root.get(url_of("team", lead)).context["members"]) == 2
    html = page(root, "team", lead, page="2")
    assert "3 members" in html
    assert 'href="?page=1" rel="prev"' in html


def test_the_agent_card_is_readable(root: Client, make_workspace: Make) -> None:
    one = make_workspace("Scout")
    workspaces.register(one.id, url="http://scout:1", agent_card=CARD, held=True, enrolment_id=None)
    html = page(root, "agent", one)
    for text in (
        "Dig deep",
        "Finds sources",
        "web",
        "Acme",
        "http://scout:1",
        '"organization": "Acme"',
    ):
        assert text in unescape(html)
    overview = dict(root.get(change_url(one)).context["card_facts"])
    assert "Dig deep" in overview["Skills"]


# --- Settings and connecting -------------------------------------------------------------------------


def test_saving_returns_to_the_settings_with_a_message(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    form = {"name": "New", "role": "", "tier": 1, "runtime": "", "parent": ""}
    form |= {f"initial-{name}": value for name, value in form.items()} | {"initial-name": "One"}
    saved = root.post(url_of("settings", one), form, follow=True)
    assert shown_messages(saved) == ["Saved the settings of New."]
    assert saved.redirect_chain[-1][0] == url_of("settings", one)


def test_the_commands_to_paste_have_the_address_of_the_request(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    shown = root.post(url_of("connect", one), follow=True, headers={"host": "testserver"})
    (token,) = set(re.findall(r"mol_en_\w+?_[\w-]+", shown.content.decode()))
    instructions = shown.context["instructions"]
    for command in (instructions["curl_register_template"], instructions["python_snippet"]):
        assert "http://testserver/registry/register" in command
        assert token in command
        assert str(one.id) in command


def test_the_page_says_whether_the_agent_is_connected(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    assert "Waiting for the agent." in page(root, "connect", one)
    workspaces.register(one.id, url="http://scout:1", agent_card=CARD, held=True, enrolment_id=None)
    assert "The agent is connected." in page(root, "connect", one)
    Workspace.objects.filter(id=one.id).update(status=Status.OFFLINE)
    assert "The agent is connected." not in page(root, "connect", one)


def test_an_awaiting_workspace_is_connected_with_its_primary_verb(operator: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    primary = operator.get(change_url(one)).context["header"].toolbar.primary
    assert (primary.title, primary.url) == ("Connect its agent", url_of("connect", one))
    assert operator.get(primary.url).status_code == 200


def _tabs_of(html: str) -> str:
    return html[html.index('<nav class="tabs"') :].partition("</nav>")[0]
