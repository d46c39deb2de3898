"""A Redis that hangs: it accepts connections and commands but never responds."""

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
    """Points the process's client at a URL."""

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


def test_after_one_timeout_the_next_calls_fail_at_once(use: Any, tmp_path: Path) -> None:
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


def test_a_timeout_of_a_pipeline_counts_too(use: Any, tmp_path: Path) -> None:
    with running_redis(tmp_path) as url:
        use(url)
        with stopped(redis.client().info("server")["process_id"]):
            with pytest.raises(TimeoutError), redis.client().pipeline() as pipe:
                piped(pipe)
            with pytest.raises(ConnectionError):
                redis.client().ping()


def test_half_a_message_to_a_subscriber_is_not_a_timeout_of_redis(use: Any) -> None:
    """The supervisor reads its subscription without waiting and may find an incomplete message."""
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
    """A listening socket that accepts no connection: the kernel completes the handshake."""
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_connecting_times_out_for_every_scheme(use: Any, scheme: str, tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    where = (socket.AF_UNIX, path) if scheme == "unix" else (socket.AF_INET, ("127.0.0.1", 0))
    with silent(*where) as listener:
        use(f"unix://{path}" if scheme == "unix" else f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            redis.client().ping()
        with pytest.raises(ConnectionError):
            redis.client().ping()
