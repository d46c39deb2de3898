"""Browsers get a page for an error, other clients JSON."""

import base64
import hashlib
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

import molecule.urls
from molecule import error_pages

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
CLIENTS = [{}, {"Accept": "*/*"}, {"Accept": "application/json, text/plain, */*"}]


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("a detail")


def busy(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '10ms'")
        cursor.execute("SELECT pg_sleep(20)")
    raise AssertionError


def on_standby(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("DELETE FROM workspaces")
    raise AssertionError


urlpatterns = [
    path("broken", broken),
    path("busy", busy),
    path("standby", on_standby),
    *molecule.urls.urlpatterns,
]
handler400, handler403 = molecule.urls.handler400, molecule.urls.handler403
handler404, handler500 = molecule.urls.handler404, molecule.urls.handler500
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def browser() -> Client:
    return Client(headers=HTML, raise_request_exception=False)


def assert_page(answer: Any, status: int, words: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert words in answer.text
    assert '<a href="' in answer.text
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("unknown", ["/nope", "/nope/deeper", "/health/"])
def test_an_unknown_page(browser: Client, settings: Any, debug: bool, unknown: str) -> None:
    settings.DEBUG = debug
    assert_page(browser.get(unknown), 404, "Page not found")


@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_page_of_the_admin(browser: Client, settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    browser.force_login(User.objects.create_superuser("op"))
    assert_page(browser.get("/admin/nope/"), 404, "Page not found")


def test_a_page_that_is_not_for_this_account(browser: Client) -> None:
    browser.force_login(User.objects.create_user("nobody"))
    answer = browser.get("/")
    assert_page(answer, 403, "Not allowed")
    assert links(answer) == ["/admin/login/?next=/"]


def test_a_page_that_this_member_of_staff_may_not_see(browser: Client) -> None:
    user = User.objects.create_user("nobody", is_staff=True)
    browser.force_login(user)
    assert links(browser.get("/")) == ["/admin/", "/admin/login/?next=/"]
    assert links(browser.get("/admin/auth/user/")) == ["/admin/", "/admin/login/?next=/"]
    user.groups.add(Group.objects.get(name="viewers"))
    assert links(browser.get("/admin/auth/user/")) == ["/", "/admin/", "/admin/login/?next=/"]


def test_an_unknown_page_has_ways_back(browser: Client) -> None:
    assert links(browser.get("/nope")) == ["/", "/admin/", "/api/docs"]


def links(answer: Any) -> list[str]:
    return re.findall(r'<a href="([^"]*)"', answer.text)


def log_out(browser: Client, answer: Any) -> None:
    """Presses the page's button, and is logged out."""
    form = r'<form method="post" action="([^"]+)">.*name="csrfmiddlewaretoken" value="(\w+)"'
    [(action, token)] = re.findall(form, answer.text)
    assert browser.post(action, {"csrfmiddlewaretoken": token}).status_code == 200
    assert browser.get("/").headers["Location"].startswith("/admin/login/")


def test_a_user_without_groups_is_told_so_and_may_log_out() -> None:
    strict = Client(headers=HTML, enforce_csrf_checks=True)
    strict.force_login(User.objects.create_user("nobody"))
    answer = strict.get("/")
    assert_page(answer, 403, "Ask an administrator to put it into one of the groups")
    log_out(strict, answer)


def test_an_operator_who_is_not_staff_logs_in_and_is_told_what_is_missing() -> None:
    operator = User.objects.create_user("op", password="right")
    operator.groups.add(Group.objects.get(name="operators"))
    browser = Client(headers=HTML)
    login = browser.post("/admin/login/?next=/", {"username": "op", "password": "right"})
    assert (login.status_code, login.headers["Location"]) == (302, "/")
    assert browser.get("/").status_code == 200
    strict = Client(headers=HTML, enforce_csrf_checks=True)
    strict.force_login(operator)
    for address in ("/admin/", "/admin/registry/workspace/"):
        answer = strict.get(address)
        assert_page(answer, 403, "Ask an administrator to set “Staff status”")
    log_out(strict, answer)


def test_a_form_that_has_expired() -> None:
    strict = Client(headers=HTML, enforce_csrf_checks=True)
    assert_page(strict.post("/admin/login/", {"username": "op"}), 403, "The form has expired")


@pytest.mark.parametrize("debug", [False, True])
def test_a_host_that_is_not_ours(browser: Client, settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    elsewhere = {"Host": "elsewhere.example"}
    assert_page(browser.get("/", headers=elsewhere), 400, "Bad request")
    for route in ("/workspaces", "/registry/register", "/api/docs"):
        answer = browser.get(route, headers=elsewhere)
        assert (answer.status_code, answer.json()) == (400, {"error": error_pages.UNKNOWN_HOST})


def test_a_view_that_fails(browser: Client) -> None:
    answer = browser.get("/broken")
    assert_page(answer, 500, "Internal error")
    assert "a detail" not in answer.text


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("view", "words"), [("busy", "the database is busy, try again"), ("standby", "database unavailable, try again")]
)
def test_a_view_whose_database_is_busy_or_away(
    browser: Client, settings: Any, debug: bool, view: str, words: str
) -> None:
    settings.DEBUG = debug
    with transaction.atomic():
        answer = browser.get(f"/{view}")
        transaction.set_rollback(True)
    assert_page(answer, 503, f"{words[0].upper()}{words[1:]}.")
    assert answer.headers["Retry-After"] == "2"
    assert "Accept" in answer.headers["Vary"]
    with transaction.atomic():
        other = Client().get(f"/{view}")
        transaction.set_rollback(True)
    assert (other.status_code, other.json(), other.headers["Retry-After"]) == (503, {"error": words}, "2")


def test_a_middleware_whose_database_is_away(rf: RequestFactory) -> None:
    """Django calls its handler500 while it handles the error."""
    try:
        raise OperationalError("gone")
    except OperationalError:
        answer = error_pages.server_error(rf.get("/"))
    assert answer.status_code == 503


@pytest.mark.parametrize("headers", CLIENTS, ids=str)
def test_other_clients_get_json(headers: dict[str, str]) -> None:
    client = Client(headers=headers, raise_request_exception=False)
    elsewhere = {"Host": "elsewhere.example"}
    assert (client.get("/nope").status_code, client.get("/nope").json()) == (404, {"error": "not found"})
    assert client.get("/", headers=elsewhere).json() == {"error": error_pages.UNKNOWN_HOST}
    assert client.get("/broken").json() == {"error": "internal error"}
    client.force_login(User.objects.create_user("nobody"))
    assert client.get("/").json() == {"error": "not allowed"}


def test_caches_keep_page_and_json_apart(browser: Client) -> None:
    for client in (browser, Client()):
        assert "Accept" in client.get("/nope").headers["Vary"]


def test_a_route_of_the_api_answers_browsers_in_json_as_well(browser: Client) -> None:
    assert browser.get("/workspaces").json() == {"error": "authentication required"}
