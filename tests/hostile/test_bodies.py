"""Bodies that are expensive to parse, from unauthenticated clients."""

import time

import pytest

from tests.e2e.stack import Platform
from tests.hostile.attacks import Flood, nested, post
from tests.hostile.measures import MEBIBYTE, PeakMemory, Pulse, typical_beat

MEASURED_SECONDS = 4.0
# How many times as long as without the attack a heartbeat may take; with bodies that are parsed it was 400.
BOUND = 25.0
# Well-formed, but never issued.
NO_TOKEN = f"mol_ws_{'a' * 12}_{'B' * 43}"

BODIES = {
    "heartbeat": ("/registry/heartbeat", nested(MEBIBYTE - 100), 4),
    "small heartbeat": ("/registry/heartbeat", nested(60 * 1024), 4),
    "small batch": ("/registry/heartbeats", nested(60 * 1024, '{"beats":%s}'), 8),
    "batch": ("/registry/heartbeats", nested(MEBIBYTE - 100, '{"beats":%s}'), 8),
    "register": ("/registry/register", nested(MEBIBYTE - 100, '{"agent_card":%s}'), 4),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_strangers_structure_does_not_slow_an_agents_heartbeats(platform: Platform, kind: str) -> None:
    path, body, connections = BODIES[kind]
    agent = platform.agent("well-behaved")
    idle = typical_beat(agent, 2)
    flood = Flood(platform.url, post(platform.url, path, body, NO_TOKEN), connections)
    with PeakMemory(platform.web.pid) as peak, Pulse(agent) as pulse, flood:
        time.sleep(MEASURED_SECONDS)
    print(f"{kind}: {idle:.4f} s idle, {pulse.typical:.4f} s, {peak.grown / MEBIBYTE:.0f} MiB, {flood.answers}")
    assert set(pulse.answers) == {200}
    assert flood.answers.keys() <= {"400", "401", "413", "429", "cut"}
    assert pulse.typical < BOUND * idle
