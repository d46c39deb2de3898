// Event summaries, the loaded part of the log, views of the past, and which of several answers counts.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  emptyLog,
  LruCache,
  nameHistory,
  pastView,
  positionOf,
  stepped,
  withNewer,
  withOlder,
} from "../../canvas/static/canvas/js/event_log.js";
import { changeOf, kindOf, summarize } from "../../canvas/static/canvas/js/event_summaries.js";
import { LatestTask } from "../../molecule/static/ui/latest_task.js";

const NAMES = { a: "Backend", b: "QA", e: "Engineering", r: "Research" };
const row = (seq, event_type = "WORKSPACE_ONLINE", payload = {}, fields = {}) => ({
  seq,
  event_type,
  workspace_id: "a",
  payload,
  actor: "operator:op",
  created_at: "2026-01-31T12:00:00Z",
  ...fields,
});
const summary = (event_type, payload, fields) => summarize(row(1, event_type, payload, fields), (id) => NAMES[id] ?? "?");
const rows = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => row(from + i));
const logOf = (from, to, flags = {}) => ({ ...emptyLog(), events: rows(from, to), ...flags });

describe("event summaries", () => {
  const supervisor = { actor: "supervisor" };
  const itself = { actor: "workspace:a" };
  const sentences = [
    ["WORKSPACE_PROVISIONING", { name: "Backend", parent_id: "e" }, {}, "op created Backend in Engineering"],
    ["WORKSPACE_PROVISIONING", { name: "Backend", parent_id: null }, itself, "Backend was created"],
    ["WORKSPACE_PROVISIONING", { name: "Backend", from: "paused" }, {}, "op resumed Backend"],
    ["WORKSPACE_PROVISIONING", { name: "Backend", from: "failed" }, {}, "op marked Backend as restarting"],
    ["WORKSPACE_ONLINE", { from: "provisioning" }, itself, "Backend came online"],
    ["WORKSPACE_ONLINE", { from: "offline" }, itself, "Backend came back online"],
    ["WORKSPACE_ONLINE", { from: "degraded" }, itself, "Backend recovered"],
    ["WORKSPACE_ONLINE", {}, {}, "Backend came online"],
    ["WORKSPACE_OFFLINE", { reason: "lease expired" }, supervisor, "Backend went offline: lease expired"],
    ["WORKSPACE_OFFLINE", null, supervisor, "Backend went offline"],
    ["WORKSPACE_DEGRADED", { error_rate: 0.9, sample_error: "503" }, itself, "Backend degraded: 90% errors, 503"],
    ["WORKSPACE_PROVISION_FAILED", { error: "no image" }, supervisor, "Backend failed: no image"],
    ["WORKSPACE_PAUSED", { name: "Backend" }, {}, "op paused Backend"],
    ["WORKSPACE_UPDATED", { changes: { name: ["Old", "New"] } }, {}, "op renamed Old to New"],
    ["WORKSPACE_UPDATED", { changes: { tier: [1, 2] } }, {}, "op changed the tier of Backend from 1 to 2"],
    ["WORKSPACE_UPDATED", { changes: { role: [null, "x"], name: ["Old", "New"] } }, {}, "op changed the role, name of Old"],
    ["WORKSPACE_UPDATED", { changes: { agent_card: [{}, {}] } }, itself, "Backend changed its agent card"],
    ["WORKSPACE_UPDATED", { changes: {}, files: { "a.md": [null, "1"] } }, {}, "op changed a.md of Backend"],
    ["WORKSPACE_UPDATED", { changes: {}, files: { "a.md": [null, "1"], "b.md": ["1", null] } }, itself, "Backend changed 2 files"],
    ["WORKSPACE_UPDATED", { changes: { forwarded_to: [null, "b"] } }, {}, "op forwarded Backend to QA"],
    ["WORKSPACE_MOVED", { old_parent_id: "e", new_parent_id: "r" }, { workspace_id: "b" }, "op moved QA from Engineering to Research"],
    ["WORKSPACE_MOVED", { old_parent_id: null, new_parent_id: "r" }, {}, "op moved Backend from the top level to Research"],
    ["WORKSPACE_REMOVED", { name: "Backend", cascade_deleted: 2, forwarded_to: "b" }, {}, "op removed Backend and 2 in its team, forwarded to QA"],
    ["WORKSPACE_EXPANDED", { children: [{ name: "X" }, { name: "Y" }] }, {}, "op added a team to Backend: X, Y"],
    ["WORKSPACE_COLLAPSED", { removed_children: ["X"] }, {}, "op removed the team of Backend: X"],
    ["AGENT_ASSIGNED", { model: "m1" }, {}, "op assigned m1 to Backend"],
    ["AGENT_REMOVED", { model: "m1", reason: "too slow" }, {}, "op removed m1 from Backend: too slow"],
    ["AGENT_REPLACED", { old_model: "m1", new_model: "m2" }, {}, "op replaced m1 with m2 in Backend"],
    ["AGENT_MOVED", { model: "m1", from_workspace_id: "a", to_workspace_id: "b" }, {}, "op moved m1 from Backend to QA"],
    ["AGENT_CARD_UPDATED", {}, itself, "Backend changed its agent card"],
    ["WORKSPACE_UPDATED", { changes: { forwarded_to: ["b", null] } }, {}, "op stopped forwarding Backend"],
    ["WORKSPACE_REMOVED", { name: "Backend" }, supervisor, "Backend was removed"],
    ["WORKSPACE_REMOVED", { name: "Backend", cascade_deleted: 2 }, supervisor, "Backend and 2 in its team were removed"],
    ["WORKSPACE_PAUSED", {}, { actor: "operator:operator" }, "operator paused Backend"],
    ["WORKSPACE_PAUSED", {}, { actor: "operator:ann#7" }, "ann paused Backend"],
    ["WORKSPACE_PAUSED", {}, { actor: "operator:a:b" }, "a:b paused Backend"],
    ["WORKSPACE_PAUSED", {}, { actor: "command:import" }, "command import paused Backend"],
    ["WORKSPACE_PAUSED", {}, { actor: "operator:" }, "operator: paused Backend"],
    ["SOMETHING_NEW", {}, {}, "Backend: SOMETHING_NEW"],
    ["toString", {}, {}, "Backend: toString"],
  ];
  for (const [type, payload, fields, expected] of sentences) {
    it(expected, () => assert.equal(summary(type, payload, fields), expected));
  }

  it("mark a card as added, removed or changed", () => {
    assert.equal(changeOf(row(1, "WORKSPACE_PROVISIONING")), "added");
    assert.equal(changeOf(row(1, "WORKSPACE_PROVISIONING", { from: "paused" })), "changed");
    assert.equal(changeOf(row(1, "WORKSPACE_REMOVED")), "removed");
    assert.deepEqual(["WORKSPACE_OFFLINE", "WORKSPACE_MOVED"].map((event_type) => kindOf({ event_type })), ["failure", "structure"]);
  });
});

describe("the loaded part of the log", () => {
  const seqs = ({ events }) => events.map(({ seq }) => seq);

  it("grows at both ends, in order and without duplicates", () => {
    let log = withOlder(emptyLog(), { rows: [row(6), row(5), row(4)], more: true });
    assert.deepEqual([seqs(log), log.hasOlder], [[4, 5, 6], true]);
    log = withOlder(log, { rows: [row(4), row(2)], more: false });
    assert.deepEqual([seqs(log), log.hasOlder], [[2, 4, 5, 6], false]);
    log = withNewer(log, { rows: [row(6), row(7), row(9)], more: true });
    assert.deepEqual([seqs(log), log.hasNewer], [[2, 4, 5, 6, 7, 9], true]);
    assert.equal(withNewer(log, { rows: [], more: false }).hasNewer, false);
  });

  it("leaves out agent cards", () => {
    const rows = [
      row(1, "WORKSPACE_ONLINE", { agent_card: { big: 1 }, from: "offline" }),
      row(2, "WORKSPACE_UPDATED", { changes: { agent_card: [{ big: 1 }, { big: 2 }], url: ["", "x"] } }),
    ];
    const [card, changes] = withNewer(emptyLog(), { rows, more: false }).events;
    assert.deepEqual(card.payload, { from: "offline" });
    assert.deepEqual(changes.payload.changes, { url: ["", "x"], agent_card: [{}, {}] });
  });

  it("finds the last event at or before a position, across gaps", () => {
    const log = { ...emptyLog(), events: [row(3), row(5), row(9)] };
    assert.deepEqual([2, 3, 4, 5, 8, 9, 99].map((seq) => positionOf(log, seq)), [-1, 0, 0, 1, 1, 2, 2]);
    assert.equal(positionOf(emptyLog(), 1), -1);
  });
});

describe("stepping", () => {
  const at = (position, wants = null) => ({ position, wants });

  it("goes from now to the newest event and back to now", () => {
    const log = logOf(1, 5);
    assert.deepEqual(stepped(log, null, -1), at(4));
    assert.deepEqual(stepped(log, 4, 1), at(null));
    assert.deepEqual(stepped(log, null, 1), at(null));
  });

  it("moves by ten, and stops at the first event", () => {
    assert.deepEqual(stepped(logOf(1, 50), 30, -10), at(20));
    assert.deepEqual(stepped(logOf(1, 50), 3, -10), at(0));
    assert.deepEqual(stepped(logOf(1, 50), 45, 10), at(null));
  });

  it("asks for the next page at the edge", () => {
    assert.deepEqual(stepped(logOf(5, 9, { hasOlder: true }), 0, -1), at(0, "older"));
    assert.deepEqual(stepped(logOf(5, 9, { hasNewer: true }), 4, 1), at(null, "newer"));
  });

  it("has nowhere to go in an empty log", () => {
    assert.deepEqual(stepped(emptyLog(), null, -1), at(null));
  });
});

describe("names", () => {
  const nameOf = nameHistory([
    row(1, "WORKSPACE_PROVISIONING", { name: "First" }),
    row(5, "WORKSPACE_UPDATED", { changes: { name: ["First", "Second"] } }),
    row(6, "WORKSPACE_UPDATED", { changes: { name: ["Old", "New"] } }, { workspace_id: "b" }),
    row(7, "WORKSPACE_REMOVED", { name: "Gone" }, { workspace_id: "c" }),
  ]);

  it("are those at the time of the event", () => {
    assert.deepEqual([1, 4, 5, 9].map((seq) => nameOf("a", seq)), ["First", "First", "Second", "Second"]);
    assert.deepEqual([2, 6].map((seq) => nameOf("b", seq)), ["Old", "New"]);
    assert.equal(nameOf("c", 2), "Gone");
    assert.equal(nameOf("unknown", 2), undefined);
  });
});

describe("a view of the past", () => {
  const workspace = (id, fields = {}) => ({ id, name: id, status: "online", x: 1, y: 1, collapsed: false, ...fields });
  const snapshot = (...workspaces) => ({ seq: 5, at: "", workspaces });

  it("marks the changed card and keeps the current layout", () => {
    const active = new Map([["a", workspace("a", { x: 7, collapsed: true })]]);
    const past = pastView(snapshot(workspace("a"), workspace("b")), row(5), null, active);
    const { x, collapsed, change } = past.workspaces.get("a");
    assert.deepEqual([x, collapsed, change, past.workspaces.get("b").change], [7, true, "changed", null]);
  });

  it("still shows the removed workspace", () => {
    const before = snapshot(workspace("a"), workspace("b"));
    const past = pastView(snapshot(workspace("b")), row(5, "WORKSPACE_REMOVED"), before, new Map());
    assert.deepEqual([past.workspaces.get("a").status, past.workspaces.get("a").change], ["removed", "removed"]);
  });

  it("shows the reason of a failure", () => {
    const failed = row(5, "WORKSPACE_PROVISION_FAILED", { error: "no image" });
    assert.equal(pastView(snapshot(workspace("a")), failed, null, new Map()).workspaces.get("a").failure, "no image");
  });

  it("does not modify the cached snapshot", () => {
    const kept = snapshot(workspace("a"));
    pastView(kept, row(5), null, new Map());
    assert.equal("change" in kept.workspaces[0], false);
  });
});

describe("the cache of snapshots", () => {
  it("drops the least recently used entry", () => {
    const kept = new LruCache(2);
    kept.set(1, "a");
    kept.set(2, "b");
    kept.get(1);
    kept.set(3, "c");
    assert.deepEqual([kept.get(1), kept.get(2), kept.get(3)], ["a", undefined, "c"]);
  });
});

describe("the last task wins", () => {
  const deferredPromise = () => Promise.withResolvers?.() ?? deferred();
  function deferred() {
    const made = {};
    made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
    return made;
  }

  it("even when it finishes first", async () => {
    const latest = new LatestTask();
    const [slow, quick] = [deferredPromise(), deferredPromise()];
    let aborted = false;
    const first = latest.run((signal) => {
      signal.addEventListener("abort", () => (aborted = true));
      return slow.promise;
    });
    const second = latest.run(() => quick.promise);
    quick.resolve("new");
    assert.deepEqual(await second, { value: "new" });
    slow.resolve("old");
    assert.equal(await first, null);
    assert.ok(aborted);
  });

  it("and only its failure is reported", async () => {
    const latest = new LatestTask();
    const late = deferredPromise();
    const first = latest.run(() => late.promise);
    const second = latest.run(() => Promise.reject(new Error("down")));
    late.reject(new Error("aborted"));
    assert.equal(await first, null);
    await assert.rejects(second, /down/);
  });

  it("does not start a task that was replaced during its delay", async () => {
    const latest = new LatestTask();
    let begun = 0;
    const task = async () => ++begun;
    const answers = await Promise.all([latest.run(task, 5), latest.run(task, 5), latest.run(task, 5)]);
    assert.deepEqual(answers, [null, null, { value: 1 }]);
  });

  it("and can be cancelled", async () => {
    const latest = new LatestTask();
    const late = deferredPromise();
    const asked = latest.run(() => late.promise);
    latest.cancel();
    late.resolve("unwanted");
    assert.equal(await asked, null);
  });
});
