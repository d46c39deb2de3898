"""What each tier gives an agent, and which tiers may be run at all."""

from dataclasses import dataclass

from django.conf import settings

from registry.runtime.backend import Refused

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one agent. None: no limit."""

    memory_bytes: int | None
    cpus: float | None
    processes: int | None


LIMITS = {
    1: Limits(memory_bytes=256 * MIB, cpus=0.5, processes=128),
    2: Limits(memory_bytes=512 * MIB, cpus=1, processes=256),
    3: Limits(memory_bytes=2048 * MIB, cpus=2, processes=None),
    4: Limits(memory_bytes=None, cpus=None, processes=None),
}
NEEDED = {3: "RUNTIME_ALLOW_PRIVILEGED", 4: "RUNTIME_ALLOW_HOST"}
"""The settings without which these tiers are refused."""


def check_allowed(tier: int, offered: frozenset[int], *, backend: str) -> None:
    """Raises Refused: a tier is never weakened to one that could be had."""
    if tier in NEEDED and not getattr(settings, NEEDED[tier]):
        raise Refused("tier_not_allowed", f"tier {tier} is run only where {NEEDED[tier]} is set")
    if tier not in offered:
        known = ", ".join(map(str, sorted(offered))) or "none"
        raise Refused("tier_not_offered", f"the {backend} backend cannot give tier {tier}, only: {known}")
