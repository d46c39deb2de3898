"""Pages obey the content security policy in a browser; WebSockets close when their credential ends."""

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform, manage, web

PAGES = [
    "/",
    "/?view=list",
    "/api/docs",
    "/admin/",
    "/admin/registry/workspace/",
    "/admin/registry/workspace/add/",
    "/admin/registry/workspace/{id}/change/",
    "/admin/registry/workspace/{id}/history/",
    "/admin/registry/workspace/{id}/activity/",
    "/admin/registry/workspace/{id}/secrets/",
    "/admin/registry/workspace/{id}/access/",
    "/admin/registry/workspace/{id}/team/",
    "/admin/registry/workspace/{id}/agent/",
    "/admin/registry/workspace/{id}/settings/",
    "/admin/registry/workspace/{id}/connect/",
    "/admin/registry/agent/",
    "/admin/registry/workspacesecret/",
    "/admin/registry/workspacesecret/add/",
    "/admin/registry/globalsecret/add/",
    "/admin/registry/workspacetoken/",
    "/admin/registry/operatortoken/",
    "/admin/registry/secretaccess/",
    "/admin/system/",
    "/admin/activity/structureevent/",
    "/admin/activity/activitylog/",
    "/admin/auth/user/add/",
    "/admin/auth/group/add/",
    "/admin/password_change/",
]


@pytest.fixture
def signed_in_page(platform: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(platform, browser)


@pytest.mark.parametrize("path", PAGES)
def test_pages_do_not_violate_the_content_security_policy(platform: Platform, signed_in_page: Page, path: str) -> None:
    agent = platform.agent("shown")
    agent.post(f"/workspaces/{agent.id}/activity", {"activity_type": "error", "summary": "x"})
    signed_in_page.add_init_script(
        "window.violations = [];"
        "addEventListener('securitypolicyviolation', e => violations.push(`${e.violatedDirective} ${e.blockedURI}`));"
    )
    response = signed_in_page.goto(platform.url + path.replace("{id}", agent.id))
    assert response is not None
    assert response.status == 200
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    signed_in_page.wait_for_timeout(300)
    assert signed_in_page.evaluate("violations") == []


def test_every_response_has_the_security_headers(platform: Platform) -> None:
    for path in ("/health", "/nope", "/workspaces", "/admin/login/", "/static/ui/tokens.css"):
        headers = httpx.get(platform.url + path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"


def _read_until_closed(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=10)


def test_revoking_a_token_closes_its_websocket(platform: Platform) -> None:
    script = (
        "from django.contrib.auth.models import User\nfrom registry.identity.tokens import *\n"
        "print(issue_operator_token(User.objects.get(username='op')))"
    )
    token = manage(platform.environment, "shell", "-v0", "-c", script).strip()
    headers = {"Authorization": f"Bearer {token}"}
    with connect(f"ws://127.0.0.1:{platform.port}/ws", additional_headers=headers) as socket:
        socket.send('{"type":"ping"}')
        assert json.loads(socket.recv(timeout=10)) == {"type": "pong"}
        prefix = token.rpartition("_")[0]
        revoke = (
            "from registry.identity.tokens import *\nfrom registry.models import OperatorToken\n"
            f"revoke_operator_token(OperatorToken.objects.get(prefix='{prefix}').id)"
        )
        manage(platform.environment, "shell", "-v0", "-c", revoke)
        with pytest.raises(ConnectionClosed):
            _read_until_closed(socket)
        assert socket.protocol.close_code == 4403
    assert httpx.get(f"{platform.url}/workspaces", headers=headers).status_code == 401


def test_logging_out_closes_the_websockets_of_the_session(platform: Platform) -> None:
    with httpx.Client(base_url=platform.url) as client:
        token = client.get("/admin/login/").cookies["csrftoken"]
        form = {"username": platform.username, "password": platform.password, "csrfmiddlewaretoken": token}
        client.post("/admin/login/", data=form)
        headers = {"Cookie": f"sessionid={client.cookies['sessionid']}"}
        with connect(f"ws://127.0.0.1:{platform.port}/ws", additional_headers=headers) as socket:
            socket.send('{"type":"ping"}')
            assert json.loads(socket.recv(timeout=10)) == {"type": "pong"}
            client.post("/admin/logout/", data={"csrfmiddlewaretoken": client.cookies["csrftoken"]})
            with pytest.raises(ConnectionClosed):
                _read_until_closed(socket)
            assert socket.protocol.close_code == 4403


def test_a_client_that_sends_too_many_messages_is_disconnected(platform: Platform) -> None:
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    with connect(f"ws://127.0.0.1:{platform.port}/ws", additional_headers=headers) as socket:
        for _ in range(101):
            socket.send('{"type":"ping"}')
        with pytest.raises(ConnectionClosed):
            _read_until_closed(socket)
        assert socket.protocol.close_code == 4429


def test_with_debug_an_unknown_host_is_told_no_settings(platform: Platform) -> None:
    with web(platform, DEBUG="true") as (url, _process):
        for path in ("/", "/workspaces", "/admin/login/", "/nope"):
            answer = httpx.get(url + path, headers={"Host": "evil.example", "Accept": "text/html"})
            assert answer.status_code == 400, path
            assert "DATABASE" not in answer.text
            assert "Traceback" not in answer.text


def test_in_open_mode_a_page_of_another_site_pauses_nobody(platform: Platform, browser: Browser) -> None:
    """Such a request has no body, so a real browser sends it without a preflight."""
    workspace = platform.create("stays")["id"]
    with web(platform, MOLECULE_OPEN="true") as (url, _process):
        page, foreign = browser.new_page(), "http://evil.localhost:8000/"
        form = f'<form method="post" action="{url}/workspaces/{workspace}/pause"><button>Win</button></form>'
        page.route(foreign, lambda route: route.fulfill(body=form, content_type="text/html"))
        page.goto(foreign)
        with page.expect_response("**/pause") as told:
            page.get_by_role("button").click()
        assert told.value.status == 403
        page.close()
    assert platform.api.get(f"/workspaces/{workspace}").json()["status"] == "provisioning"
