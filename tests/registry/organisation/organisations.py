"""Random organisations, and which of their workspaces a filter should select, by a plain loop over the rows."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from activity import clock
from registry.models import Status, Workspace

NAMES = ("Lead", "Web Scout", "Paper reader", "100%_sure", "Büro", "scout of papers")
ROLES = (None, "Reads papers", "Finds sources\nand more", "100%_sure")
RUNTIMES = (None, "", "claude-code", "langgraph")
ALIVE = (Status.ONLINE, Status.DEGRADED)
COUNT = 60


def create(seed: int) -> None:
    """COUNT workspaces with random columns and parents; some of the parents were removed."""
    rng, now = random.Random(seed), clock.now()
    made: list[Workspace] = []
    for n in range(COUNT):
        parent = rng.choice(made) if made and rng.random() < 0.7 else None
        status = rng.choice(Status.values)
        if parent is not None and parent.status == Status.REMOVED:
            status = Status.REMOVED
        row = Workspace(
            name=rng.choice(NAMES),
            role=rng.choice(ROLES),
            tier=rng.randint(1, 4),
            runtime=rng.choice(RUNTIMES),
            status=status,
            parent=parent,
            created_at=now - timedelta(hours=n),
            last_heartbeat_at=_around(rng, now),
            lease_expires_at=_around(rng, now),
            flapping_until=_around(rng, now),
            refused_at=now if rng.random() < 0.1 else None,
            enrolment_expires_at=_around(rng, now),
        )
        row.save(force_insert=True)
        made.append(row)


def _around(rng: random.Random, now: datetime) -> datetime | None:
    return None if rng.random() < 0.3 else now + timedelta(minutes=rng.choice((-3000, -60, -5, 5, 60)))


def words_in(row: Workspace, text: str) -> bool:
    shown = f"{row.name}\0{row.role or ''}".lower()
    return all(word in shown or word == str(row.id) for word in text.lower().split())


def needs_somebody(row: Workspace, now: datetime) -> bool:
    """Without tokens and secrets, which these rows do not have."""
    if row.status in (Status.PAUSED, Status.REMOVED):
        return False
    expired = row.status == Status.PROVISIONING and _past(row.enrolment_expires_at, now)
    flaps = row.flapping_until is not None and row.flapping_until > now
    return row.status in ("failed", "degraded", "offline") or expired or flaps or row.refused_at is not None


def is_silent(row: Workspace, now: datetime) -> bool:
    ended = row.lease_expires_at is None or row.lease_expires_at <= now
    return row.status == Status.OFFLINE or (row.status in ALIVE and ended)


def is_below(row: Workspace, top: str) -> bool:
    parent = row.parent
    while parent is not None:
        if str(parent.id) == top:
            return True
        parent = parent.parent
    return False


def _past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _time(text: str, now: datetime) -> datetime:
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if text[-1] in units:
        return now - timedelta(**{units[text[-1]]: int(text[:-1])})
    return datetime.fromisoformat(text)


Rule = Callable[[Workspace, str, datetime], bool]
RULES: Mapping[str, Rule] = {
    "q": lambda row, text, now: words_in(row, text),
    "status": lambda row, text, now: row.status in text.split(","),
    "tier": lambda row, text, now: str(row.tier) in text.split(","),
    "runtime": lambda row, text, now: (row.runtime or "unknown") in text.split(","),
    "team": lambda row, text, now: is_below(row, text),
    "position": lambda row, text, now: (row.parent_id is None) == (text == "top"),
    "attention": lambda row, text, now: needs_somebody(row, now),
    "flapping": lambda row, text, now: row.flapping_until is not None and row.flapping_until > now,
    "silent": lambda row, text, now: is_silent(row, now),
    "heartbeat_after": lambda row, text, now: (
        row.last_heartbeat_at is not None and row.last_heartbeat_at >= _time(text, now)
    ),
    "heartbeat_before": lambda row, text, now: (
        row.last_heartbeat_at is not None and row.last_heartbeat_at < _time(text, now)
    ),
    "created_after": lambda row, text, now: row.created_at >= _time(text, now),
    "created_before": lambda row, text, now: row.created_at < _time(text, now),
    "state": lambda row, text, now: text == "all" or (row.status == Status.REMOVED) == (text == "removed"),
}


def expected(query: Mapping[str, str]) -> set[str]:
    """The ids of the workspaces that the parameters select."""
    now = clock.now()
    shown = {"state": "all" if Status.REMOVED in query.get("status", "") else "active", **query}
    rows = Workspace.objects.select_related("parent")
    return {str(row.id) for row in rows if all(RULES[name](row, text, now) for name, text in shown.items())}


def queries(seed: int) -> list[dict[str, str]]:
    """Every parameter with several values, then random combinations of them."""
    rng, now = random.Random(seed), clock.now()
    ids = [str(one) for one in Workspace.objects.order_by("created_at").values_list("id", flat=True)]
    values = {
        "q": ["scout", "papers lead", "%_", "BÜRO", ids[3], "nobody"],
        "status": ["online", "online,failed", "removed", "provisioning,removed"],
        "tier": ["1", "2,4"],
        "runtime": ["claude-code", "unknown", "unknown,langgraph", "other"],
        "team": [ids[-1], ids[0], ids[-5]],
        "position": ["top", "team"],
        **{name: ["1"] for name in ("attention", "flapping", "silent")},
        "heartbeat_after": ["30m", "1h"],
        "heartbeat_before": ["30m", (now - timedelta(hours=2)).isoformat()],
        "created_after": ["20h", (now - timedelta(hours=5)).isoformat()],
        "created_before": ["1d", (now - timedelta(hours=5)).isoformat()],
        "state": ["active", "removed", "all"],
    }
    single = [{name: text} for name, texts in values.items() for text in texts]
    names = sorted(values)
    return [{}, *single, *({name: rng.choice(values[name]) for name in rng.sample(names, 3)} for _ in range(40))]
