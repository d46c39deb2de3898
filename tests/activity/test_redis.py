"""A Redis that hangs: it takes connections and commands, and answers nothing."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from activity import redis
from molecule.embedded import running_redis
from tests.e2e.stack import stopped, until


@pytest.fixture
def use(settings: Any) -> Iterator[Any]:
    """Makes the process's client one of that URL."""

    def client(url: str) -> None:
        settings.REDIS_URL = url
        redis.client.cache_clear()

    yield client
    redis.client.cache_clear()


def answers() -> bool:
    try:
        return bool(redis.client().ping())
    except RedisError:
        return False


def piped(pipe: Any) -> None:
    pipe.ping()
    pipe.execute()


def test_one_call_waits_and_the_next_ones_are_told_at_once(use: Any, tmp_path: Path) -> None:
    with running_redis(tmp_path) as url:
        use(url)
        pid = redis.client().info("server")["process_id"]
        with stopped(pid):
            with pytest.raises(TimeoutError):
                redis.client().ping()
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    redis.client().ping()
            with pytest.raises(ConnectionError), redis.client().pipeline() as pipe:
                piped(pipe)
        until(answers, "Redis to be asked again")


def test_a_pipeline_that_waits_is_a_sign_as_well(use: Any, tmp_path: Path) -> None:
    with running_redis(tmp_path) as url:
        use(url)
        with stopped(redis.client().info("server")["process_id"]):
            with pytest.raises(TimeoutError), redis.client().pipeline() as pipe:
                piped(pipe)
            with pytest.raises(ConnectionError):
                redis.client().ping()


def test_half_a_message_to_a_subscriber_is_no_sign(use: Any) -> None:
    """Who looks without waiting for what has come, a supervisor, may find the beginning of something."""
    with silent(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        use(f"redis://127.0.0.1:{listener.getsockname()[1]}?protocol=2")
        waiting: Any = redis.client().connection_pool.make_connection()
        waiting.driver_info = None
        waiting.connect()
        server, _ = listener.accept()
        with server:
            server.sendall(b"*3\r\n$7\r\nmess")
            until(waiting.can_read, "the half to arrive")
            with pytest.raises(TimeoutError):
                waiting.retry.call_with_retry(lambda: waiting.read_response(timeout=0), lambda error: None)
        waiting.disconnect()
        with pytest.raises(TimeoutError):
            redis.client().ping()


@contextmanager
def silent(family: int, address: Any) -> Iterator[socket.socket]:
    """The kernel takes the connection, nobody reads it."""
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_connecting_has_an_end_by_every_way(use: Any, scheme: str, tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    where = (socket.AF_UNIX, path) if scheme == "unix" else (socket.AF_INET, ("127.0.0.1", 0))
    with silent(*where) as listener:
        use(f"unix://{path}" if scheme == "unix" else f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            redis.client().ping()
        with pytest.raises(ConnectionError):
            redis.client().ping()
