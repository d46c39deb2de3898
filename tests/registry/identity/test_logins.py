"""Logins: counted per account and address and per address; known browsers apart; one password at a time."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from registry.exceptions import RETRY_AFTER_SECONDS, Busy
from registry.identity import logins

LOGIN = "/admin/login/"
HTML = {"Accept": "text/html"}


@pytest.fixture
def person(make_user: Callable[..., User]) -> User:
    return with_password(make_user("viewer"))


def with_password(user: User) -> User:
    user.set_password("right")
    user.save()
    return user


def log_in(client: Client, username: str, password: str, address: str = "10.0.0.1") -> Any:
    form = {"username": username, "password": password}
    return client.post(LOGIN, form, REMOTE_ADDR=address, headers=HTML)


def test_many_names_from_one_address_are_limited(person: User, settings: Any) -> None:
    settings.LOGIN_ADDRESS_FAILURES = 4
    tried = [log_in(Client(), f"name-{number}", "wrong").status_code for number in range(5)]
    assert tried == [200, 200, 200, 200, 429]
    refused = log_in(Client(), person.username, "right")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "900")
    assert "Too many logins with a wrong password" in refused.content.decode()
    assert log_in(Client(), person.username, "right", "10.0.0.2").status_code == 302


def test_a_login_that_is_refused_for_its_address_is_neither_hashed_nor_counted(
    person: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LOGIN_ADDRESS_FAILURES = 1
    log_in(Client(), "somebody", "wrong")
    monkeypatch.setattr(logins.SerialPBKDF2PasswordHasher, "encode", None)
    assert [log_in(Client(), person.username, "wrong").status_code for _ in range(3)] == [429] * 3


def test_a_known_browser_is_not_locked_out_by_strangers_at_its_address(person: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT, settings.LOGIN_ADDRESS_FAILURES = 3, 5
    browser = Client()
    assert log_in(browser, person.username, "right").status_code == 302
    browser.post("/admin/logout/")
    for number in range(6):
        log_in(Client(), person.username if number < 3 else f"name-{number}", "wrong")
    assert log_in(Client(), person.username, "right").status_code == 429
    assert log_in(browser, person.username, "right").status_code == 302


def test_a_known_browser_has_a_limit_of_its_own(person: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    browser = Client()
    log_in(browser, person.username, "right")
    tried = [log_in(browser, person.username, "wrong").status_code for _ in range(4)]
    assert tried == [200, 200, 429, 429]
    assert log_in(browser, person.username, "right").status_code == 429
    assert log_in(Client(), person.username, "right").status_code == 302, "others are not affected by it either"


def test_a_browser_is_known_for_its_user_only(person: User, make_user: Callable[..., User], settings: Any) -> None:
    other = with_password(make_user("viewer"))
    browser = Client()
    log_in(browser, person.username, "right")
    [name] = [name for name in browser.cookies if name.startswith(logins.KNOWN_BROWSER)]
    cookie = browser.cookies[name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", LOGIN)
    request = RequestFactory().post(LOGIN)
    request.COOKIES = {name: cookie.value}
    assert logins.known_browser(request, person.username)
    assert logins.known_browser(request, other.username) is None
    request.COOKIES = {name: cookie.value + "x", f"{logins.KNOWN_BROWSER}{other.pk}": f"{other.pk}.0:1:2"}
    assert logins.known_browser(request, person.username) is None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "10.0.0.1"),
        (0, "1.1.1.1", "10.0.0.1"),
        (1, "1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "unix:", None),
        (1, "\xff", None),
    ],
)
def test_the_address_is_the_one_that_rate_limits_use(
    settings: Any, proxies: int, forwarded: str | None, address: str | None
) -> None:
    settings.PROXY_ADDRESSES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    assert logins.address_of(request) == address


def test_one_password_at_a_time_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts how many threads are inside Django's hasher while ten want to be."""
    stored, inside, most = make_password("right"), 0, 0
    entered, leave = threading.Event(), threading.Event()
    real = PBKDF2PasswordHasher.encode

    def counted(self: Any, password: str, salt: str, iterations: int | None = None) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        entered.set()
        assert leave.wait(30)
        try:
            return real(self, password, salt, 1)
        finally:
            inside -= 1

    def check() -> None:
        try:
            check_password("right", stored)
            outcomes.append("checked")
        except Busy:
            outcomes.append("busy")

    outcomes: list[str] = []
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counted)
    monkeypatch.setattr(logins, "MAX_WAIT_SECONDS", 30.0)
    threads = [threading.Thread(target=check) for _ in range(10)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(outcomes) < 6:
        assert not leave.wait(0.01)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert (most, sorted(outcomes)) == (1, ["busy"] * 6 + ["checked"] * 4)


def test_a_login_that_finds_no_turn_is_told_to_try_again(person: User) -> None:
    with logins.HASHING.take():
        for _ in range(3):
            assert logins.HASHING.places.acquire(blocking=False)
        answer = log_in(Client(), person.username, "right")
        logins.HASHING.places.release(3)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(RETRY_AFTER_SECONDS))
    assert log_in(Client(), person.username, "right").status_code == 302
