"""Connections that do not read, and readers of a heavy log."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.stack import Platform, web
from tests.e2e.test_sockets import raw
from tests.hostile.attacks import ping_without_reading, write_heavy_events
from tests.hostile.measures import MEBIBYTE, PeakMemory

FLOOD_BYTES = 60 * MEBIBYTE
CARDS, CARD_BYTES = 200, 240_000
READERS = 10
READER_BOUND = 100 * MEBIBYTE


@pytest.mark.parametrize("who", ["stranger", "operator"])
def test_pongs_that_are_not_read_cost_little_memory(platform: Platform, who: str) -> None:
    token = platform.operator_token if who == "operator" else ""
    # A process of its own: memory that an earlier test made it keep would hide what this one takes.
    with web(platform) as (url, process), PeakMemory(process.pid) as peak, raw(url.rpartition(":")[2], token) as client:
        sent = ping_without_reading(client, FLOOD_BYTES)
    print(f"{who}: {sent / MEBIBYTE:.0f} MiB sent, {peak.grown / MEBIBYTE:.0f} MiB grown")
    assert peak.grown < 16 * MEBIBYTE


@pytest.fixture(scope="module")
def heavy(platform: Platform) -> Platform:
    write_heavy_events(platform, platform.create("heavy")["id"], CARDS, CARD_BYTES)
    return platform


def test_slow_readers_of_a_heavy_log_cost_little_memory(heavy: Platform) -> None:
    with web(heavy) as (url, process), PeakMemory(process.pid) as peak:
        clients = [raw(url.rpartition(":")[2], heavy.operator_token, "?since=0") for _ in range(READERS)]
        for _ in range(20):
            for client in clients:
                client.recv(4096)
            threading.Event().wait(0.1)
        for client in clients:
            client.close()
    print(f"{READERS} readers: {peak.grown / MEBIBYTE:.0f} MiB grown")
    assert peak.grown < READER_BOUND


@pytest.mark.parametrize("path", ["/events?limit=1000", "/canvas/snapshot?at={seq}", "/activity?limit=500"])
def test_pages_of_a_heavy_log_cost_little_memory(heavy: Platform, path: str) -> None:
    seq = heavy.api.get("/events?limit=1").json()[0]["seq"]
    headers = {"Authorization": f"Bearer {heavy.operator_token}"}

    def get(url: str) -> int:
        return httpx.get(url + path.format(seq=seq), headers=headers, timeout=120).status_code

    with (
        web(heavy) as (url, process),
        PeakMemory(process.pid) as peak,
        ThreadPoolExecutor(READERS) as readers,
    ):
        statuses = set(readers.map(get, [url] * READERS))
    print(f"{path}: {peak.grown / MEBIBYTE:.0f} MiB grown")
    assert statuses <= {200, 503}
    assert peak.grown < READER_BOUND
