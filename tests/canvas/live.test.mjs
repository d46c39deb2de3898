// The pure parts of live updates in the admin: positions, the connection's state, when to fetch, what a value becomes.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { connectionAfter, positionAfter, positionIn } from "../../molecule/static/ui/live.js";
import { concerns, StaleCounts, waitFor } from "../../molecule/static/ui/live_parts.js";
import { changedBy, percent, utc } from "../../molecule/static/ui/live_values.js";

const NOON = "2026-01-31T12:00:00.000000Z";
const event = (name, seq = null, payload = {}, workspace_id = "a") => ({ event: name, seq, payload, workspace_id, timestamp: NOON });

describe("the position of a page", () => {
  it("is in its markup, empty for an empty log", () => {
    assert.deepEqual(positionIn("12:twelve"), { seq: 12, eventId: "twelve" });
    assert.deepEqual(positionIn("0:"), { seq: 0, eventId: "" });
  });

  it("moves with the log, not with transient events and not back", () => {
    const at = { seq: 12, eventId: "twelve" };
    assert.deepEqual(positionAfter(at, { seq: 13, id: "thirteen" }), { seq: 13, eventId: "thirteen" });
    assert.equal(positionAfter(at, { seq: null, id: null }), at);
    assert.equal(positionAfter(at, { seq: 11, id: "eleven" }), at);
  });
});

describe("the connection", () => {
  const after = (...happenings) => happenings.reduce(connectionAfter, "connecting");

  it("is reconnecting after a loss, and lost once an attempt has failed", () => {
    assert.equal(after("live", "lost"), "reconnecting");
    assert.equal(after("live", "lost", "lost"), "lost");
    assert.equal(after("live", "lost", "lost", "lost"), "lost");
    assert.equal(after("lost"), "lost");
    assert.equal(after("live", "lost", "lost", "live"), "live");
  });
});

describe("a part of the page", () => {
  it("is fetched at most once in two seconds, and less often when the page takes long", () => {
    assert.equal(waitFor(5000, -Infinity, 0), 0);
    assert.equal(waitFor(5500, 5000, 40), 1500);
    assert.equal(waitFor(7000, 5000, 40), 0);
    assert.equal(waitFor(5500, 5000, 900), 8500);
  });

  it("is changed by events of the log, by refusals, enrolment and deployments", () => {
    assert.equal(concerns(event("WORKSPACE_MOVED", 7), {}), true);
    assert.equal(concerns(event("WORKSPACE_REFUSED"), {}), true);
    assert.equal(concerns(event("ENROLMENT_UPDATED"), {}), true);
    assert.equal(concerns(event("DEPLOYMENT_UPDATED"), {}), true);
    assert.equal(concerns(event("HEARTBEAT"), {}), false);
    assert.equal(concerns(event("LAYOUT_UPDATED"), {}), false);
  });

  it("may be about one workspace, and about its calls", () => {
    assert.equal(concerns(event("WORKSPACE_MOVED", 7), { workspace: "a" }), true);
    assert.equal(concerns(event("WORKSPACE_MOVED", 7), { workspace: "b" }), false);
    assert.equal(concerns(event("ACTIVITY_LOGGED"), { workspace: "a" }), false);
    assert.equal(concerns(event("ACTIVITY_LOGGED"), { workspace: "a", on: "activity" }), true);
    assert.equal(concerns(event("ACTIVITY_LOGGED"), { workspace: "b", on: "activity" }), false);
  });
});

describe("counts", () => {
  const counts = (...changes) => {
    const stale = new StaleCounts();
    for (const at of changes) stale.changed(at);
    return stale;
  };

  it("are fetched once the server has counted again", () => {
    assert.equal(counts().wait(1000, 0), Infinity);
    assert.equal(counts(1000).wait(1000, 0), 6000);
    assert.equal(counts(1000, 5000).wait(5000, 0), 2000);
    assert.equal(counts(1000).wait(9000, 0), 0);
  });

  it("are right only about what changed long enough before", () => {
    const stale = counts(1000, 6900);
    stale.fetched(7000);
    assert.equal(stale.wait(7000, 7000), 6000);
    stale.fetched(13000);
    assert.equal(stale.wait(13000, 13000), Infinity);
  });
});

describe("a workspace on the page", () => {
  const before = { status: "offline", last_heartbeat_at: null, current_task: "" };

  it("becomes what an event says", () => {
    assert.equal(changedBy(event("WORKSPACE_ONLINE", 7), before).status, "online");
    assert.equal(changedBy(event("WORKSPACE_REMOVED", 7), before).status, "removed");
    assert.deepEqual(changedBy(event("WORKSPACE_EXPANDED", 7), before), before);
    const beaten = changedBy(event("HEARTBEAT", null, { last_error_rate: 0.1, active_tasks: 2 }), before);
    assert.deepEqual([beaten.last_heartbeat_at, beaten.last_error_rate, beaten.active_tasks], [NOON, 0.1, 2]);
  });

  it("keeps a newer heartbeat, because an older one may arrive later", () => {
    const newer = { ...before, last_heartbeat_at: "2026-01-31T12:00:30Z" };
    assert.equal(changedBy(event("HEARTBEAT", null, {}), newer).last_heartbeat_at, "2026-01-31T12:00:30Z");
  });

  it("has its numbers and times as the server writes them", () => {
    assert.deepEqual([0, 0.125, 1].map(percent), ["0%", "13%", "100%"]);
    assert.equal(utc("2026-10-25T02:30:00.123456+02:00"), "2026-10-25 00:30:00 UTC");
  });
});
