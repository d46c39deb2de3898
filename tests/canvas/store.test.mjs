// The pure modules of the canvas page. Run with `node --test tests/canvas/` or as part of pytest.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { currentFolding, createStore, currentWorkspaces, initialState, reduce } from "../../canvas/static/canvas/js/store.js";
import { countStates, needsSomebody, reasonOf, stateLabel } from "../../canvas/static/canvas/js/states.js";
import { Tree, paintedStateOf } from "../../canvas/static/canvas/js/tree.js";
import { noFolding } from "../../canvas/static/canvas/js/folding.js";
import { backoff, retryDelay, Stream } from "../../molecule/static/ui/stream.js";
import { isFlapping, stateOf } from "../../molecule/static/ui/workspaces.js";

const NOON = "2026-01-31T12:00:00.000000Z";
const REFUSAL = { at: "2026-01-31T12:00:00Z", count: 12, reason: "token revoked", address: "10.0.0.1" };
const LATER = "2026-01-31T12:00:30.000000Z";

const workspace = (id, fields = {}) => ({
  id,
  name: id,
  role: null,
  status: "online",
  parent_id: null,
  current_task: "",
  active_tasks: 0,
  last_error_rate: 0,
  last_sample_error: "",
  last_heartbeat_at: null,
  x: 0,
  y: 0,
  collapsed: false,
  ...fields,
});

const snapshot = (seq, ...workspaces) => ({ type: "snapshot", seq, workspaces, at: 0 });

const event = (name, id, seq, payload = {}, timestamp = NOON) => ({
  type: "events",
  events: [{ event: name, workspace_id: id, seq, timestamp, payload }],
  at: 0,
});

const after = (...actions) => actions.reduce(reduce, initialState());
const one = (state, id = "a") => currentWorkspaces(state).get(id);

const treeOf = (workspaces, now = 0, folding = noFolding()) => {
  const tree = new Tree();
  tree.update(workspaces, folding, now);
  return tree;
};

describe("snapshot and events", () => {
  it("ignores events that the snapshot includes", () => {
    const state = after(snapshot(10, workspace("a")), event("WORKSPACE_OFFLINE", "a", 10));
    assert.equal(one(state).status, "online");
    assert.equal(one(reduce(state, event("WORKSPACE_OFFLINE", "a", 11))).status, "offline");
  });

  it("does not restore a removed workspace from a load in flight", () => {
    const state = after(
      snapshot(10, workspace("a")),
      { type: "load" },
      event("WORKSPACE_REMOVED", "a", 11),
      snapshot(10, workspace("a")),
    );
    assert.equal(one(state), undefined);
    assert.equal(state.seq, 11);
  });

  it("applies events received during a load to an older answer", () => {
    const state = after(
      snapshot(10, workspace("a")),
      { type: "load" },
      event("WORKSPACE_OFFLINE", "a", 11),
      event("WORKSPACE_PROVISIONING", "b", 12, { name: "b", parent_id: "a" }),
      event("LAYOUT_UPDATED", "a", null, { x: 5, y: 6, collapsed: true }),
      snapshot(10, workspace("a")),
    );
    assert.deepEqual([one(state).status, one(state).x, one(state, "b").parent_id], ["offline", 5, "a"]);
  });

  it("ignores unknown ids and events", () => {
    const before = after(snapshot(10, workspace("a")));
    for (const name of ["WORKSPACE_ONLINE", "TASK_UPDATED", "HEARTBEAT", "WORKSPACE_REMOVED", "toString", "NEWS"]) {
      const state = reduce(before, event(name, "unknown", 11));
      assert.deepEqual([...currentWorkspaces(state).keys()], ["a"], name);
      assert.equal(state.seq, 11);
    }
    const camera = event("VIEWPORT_UPDATED", null, null, { x: 1, y: 2, zoom: 3 });
    assert.deepEqual(currentWorkspaces(reduce(before, camera)), currentWorkspaces(before));
  });

  it("keeps the last state when a later load fails, and has none when the first fails", () => {
    const failed = { type: "failed", phase: "error", message: "down" };
    const kept = after(snapshot(1, workspace("a")), { type: "load" }, failed);
    assert.deepEqual([kept.phase, kept.workspaces.size], ["ready", 1]);
    assert.equal(after({ type: "load" }, failed).phase, "error");
    assert.equal(reduce(kept, { type: "failed", phase: "signed-out", message: "" }).phase, "signed-out");
  });
});

describe("each event", () => {
  const cases = [
    ["WORKSPACE_PROVISIONING", { from: "failed" }, { status: "provisioning", name: "a" }],
    ["WORKSPACE_ONLINE", { url: "http://x", agent_card: { name: "c" } }, { status: "online", url: "http://x" }],
    ["WORKSPACE_OFFLINE", { last_heartbeat_at: NOON }, { status: "offline", last_heartbeat_at: NOON }],
    ["WORKSPACE_OFFLINE", { flapping_until: LATER }, { status: "offline", flapping_until: LATER }],
    ["WORKSPACE_DEGRADED", { error_rate: 0.6, sample_error: "e" }, { status: "degraded", last_sample_error: "e" }],
    ["WORKSPACE_PROVISION_FAILED", { error: "no" }, { status: "failed" }],
    ["WORKSPACE_PAUSED", { from: "online" }, { status: "paused" }],
    ["WORKSPACE_UPDATED", { changes: { name: ["a", "z"], tier: [1, 2] } }, { name: "z", tier: 2 }],
    ["WORKSPACE_MOVED", { old_parent_id: null, new_parent_id: "b" }, { parent_id: "b" }],
    ["AGENT_CARD_UPDATED", { agent_card: { name: "d" } }, { agent_card: { name: "d" } }],
    ["WORKSPACE_COLLAPSED", { removed_children: [] }, { collapsed: false }],
    ["AGENT_ASSIGNED", { model: "m" }, { status: "online" }],
    ["WORKSPACE_REFUSED", { last_refusal: REFUSAL }, { last_refusal: REFUSAL }],
    ["DEPLOYMENT_UPDATED", { deployment: { state: "starting" } }, { deployment: { state: "starting" } }],
    ["ENROLMENT_UPDATED", { enrolment_expires_at: LATER }, { enrolment_expires_at: LATER }],
  ];
  for (const [name, payload, expected] of cases) {
    it(name, () => {
      const state = after(snapshot(1, workspace("a")), event(name, "a", 2, payload));
      assert.deepEqual({ ...one(state), ...expected }, one(state));
    });
  }

  it("creates a workspace with the fields of a snapshot", () => {
    const payload = { name: "n", role: null, tier: 2, runtime: "r", parent_id: null, x: 3, y: 4 };
    const made = one(after(snapshot(1), event("WORKSPACE_PROVISIONING", "n", 2, payload)), "n");
    assert.deepEqual({ ...made, ...payload, id: "n", status: "provisioning", current_task: "", created_at: NOON }, made);
  });

  it("applies a heartbeat with its time, and ignores an older one", () => {
    const vitals = { active_tasks: 2, last_error_rate: 0.1, last_sample_error: "", uptime_seconds: 5 };
    const state = after(snapshot(1, workspace("a")), event("HEARTBEAT", "a", null, vitals, LATER));
    assert.deepEqual([one(state).last_heartbeat_at, one(state).active_tasks], [LATER, 2]);
    const stale = reduce(state, event("HEARTBEAT", "a", null, { ...vitals, active_tasks: 9 }, NOON));
    assert.equal(one(stale).active_tasks, 2);
    const task = reduce(state, event("TASK_UPDATED", "a", null, { current_task: "old", active_tasks: 9 }, NOON));
    assert.equal(one(task).current_task, "");
  });

  it("keeps the sample error of a degraded workspace until it recovers", () => {
    const beat = event("HEARTBEAT", "a", null, { last_error_rate: 0.3, last_sample_error: "" });
    const state = after(snapshot(1, workspace("a", { status: "degraded", last_sample_error: "boom" })), beat);
    assert.equal(one(state).last_sample_error, "boom");
    assert.equal(one([event("WORKSPACE_ONLINE", "a", 2), beat].reduce(reduce, state)).last_sample_error, "");
  });
});

describe("refused credentials", () => {
  it("are shown until the server clears them", () => {
    const refused = after(snapshot(1, workspace("a")), event("WORKSPACE_REFUSED", "a", null, { last_refusal: REFUSAL }));
    assert.deepEqual(one(refused).last_refusal, REFUSAL);
    assert.equal(one(reduce(refused, event("WORKSPACE_REFUSED", "a", null, { last_refusal: null }))).last_refusal, null);
  });
});

describe("enrolment", () => {
  const [noon, later] = [NOON, LATER].map(Date.parse);
  const waiting = workspace("b", { parent_id: "a", status: "provisioning", enrolment_expires_at: LATER });

  it("expires on the clock, while no agent has registered", () => {
    assert.deepEqual([noon, later - 1, later].map((now) => stateOf(waiting, now)), ["provisioning", "provisioning", "enrolment-expired"]);
    assert.equal(stateOf({ ...waiting, status: "online" }, later), "online");
    assert.equal(stateOf({ ...waiting, enrolment_expires_at: null }, later), "provisioning");
    assert.equal(stateOf(workspace("c", { status: "provisioning" }), later), "provisioning");
  });

  it("has words for both states, and counts them apart", () => {
    assert.deepEqual(["provisioning", "enrolment-expired", "paused"].map(stateLabel), ["awaiting agent", "enrolment expired", "paused"]);
    const all = new Map([workspace("a"), waiting].map((one) => [one.id, one]));
    assert.deepEqual([...countStates(treeOf(all, noon).nodes.values())], [["provisioning", 1], ["online", 1]]);
    assert.deepEqual([...countStates(treeOf(all, later).nodes.values())], [["enrolment-expired", 1], ["online", 1]]);
    assert.deepEqual([...treeOf(all, later).roots[0].below], [["enrolment-expired", 1]]);
    assert.deepEqual([treeOf(all, noon).nextChangeAt, treeOf(all, later).nextChangeAt], [later, Infinity]);
    assert.equal(treeOf(new Map([["b", { ...waiting, status: "online" }]]), noon).nextChangeAt, Infinity);
  });

  it("gets more time with a new token", () => {
    const renewed = after(snapshot(1, waiting), event("ENROLMENT_UPDATED", "b", null, { enrolment_expires_at: "2026-02-01T12:00:00Z" }));
    assert.equal(stateOf(one(renewed, "b"), later), "provisioning");
  });
});

describe("flapping", () => {
  const [noon, later] = [NOON, LATER].map(Date.parse);
  const organisation = new Map(
    [
      workspace("a"),
      workspace("b", { parent_id: "a", flapping_until: LATER }),
      workspace("c", { parent_id: "b", status: "offline", flapping_until: NOON }),
      workspace("d", { parent_id: "b", flapping_until: null }),
      workspace("e", { parent_id: "b", flapping_until: LATER }),
    ].map((one) => [one.id, one]),
  );

  it("ends at flapping_until", () => {
    const flapping = (now) => [...organisation.values()].filter((one) => isFlapping(one, now)).map(({ id }) => id);
    assert.deepEqual(flapping(noon - 1), ["b", "c", "e"]);
    assert.deepEqual(flapping(noon), ["b", "e"]);
    assert.deepEqual(flapping(later), []);
    assert.deepEqual([noon - 1, noon, later].map((now) => treeOf(organisation, now).nextChangeAt), [noon, later, Infinity]);
  });

  it("shows on every ancestor", () => {
    const [top] = treeOf(organisation, noon).roots;
    const [team] = top.children;
    assert.deepEqual([top.isFlapping, top.flapping, team.isFlapping, team.flapping], [false, 2, true, 1]);
    assert.equal(treeOf(organisation, later).roots[0].flapping, 0);
  });

  it("stays after an offline event without flapping_until", () => {
    const state = after(snapshot(1, workspace("a", { flapping_until: LATER })), event("WORKSPACE_OFFLINE", "a", 2));
    assert.equal(one(state).flapping_until, LATER);
  });
});

describe("local changes", () => {
  const change = { type: "change", id: "a", changes: { x: 7, y: 8 } };
  const saved = (kept) => ({ type: "saved", id: "a", changes: change.changes, kept });

  it("appear at once, stay when saved, and are undone when refused", () => {
    const state = after(snapshot(1, workspace("a")), change);
    assert.equal(one(state).x, 7);
    assert.equal(one(reduce(state, saved(true))).x, 7);
    assert.equal(one(reduce(state, saved(false))).x, 0);
  });

  it("outlive the answer to an older change and changes by others", () => {
    const newer = { ...change, changes: { x: 70, y: 80 } };
    const others = event("LAYOUT_UPDATED", "a", null, { x: 1, y: 1, collapsed: false });
    const state = after(snapshot(1, workspace("a")), change, newer, others, saved(true));
    assert.equal(one(state).x, 70);
  });

  it("notify listeners once each", () => {
    const store = createStore();
    let calls = 0;
    store.subscribe(() => calls++);
    store.dispatch(snapshot(1, workspace("a")));
    assert.equal(calls, 1);
  });
});

describe("many events at once", () => {
  it("copy the workspaces once, and leave what was there before", () => {
    const before = after(snapshot(1, workspace("a"), workspace("b")));
    const [one, two] = ["a", "b"].map((id, n) => event("WORKSPACE_OFFLINE", id, 2 + n).events[0]);
    const state = reduce(before, { type: "events", events: [one, two], at: 5 });
    assert.deepEqual([state.seq, state.updatedAt], [3, 5]);
    assert.deepEqual([...state.workspaces.values()].map(({ status }) => status), ["offline", "offline"]);
    assert.deepEqual([...before.workspaces.values()].map(({ status }) => status), ["online", "online"]);
  });

  it("that change no workspace leave the map as it is", () => {
    const before = after(snapshot(1, workspace("a")));
    const state = reduce(before, event("AGENT_ASSIGNED", "a", 2, { model: "m" }));
    assert.equal(reduce(state, event("NEWS", "a", null)).workspaces, state.workspaces);
  });
});

describe("what the user chose", () => {
  it("selects one workspace", () => {
    const state = after(snapshot(1, workspace("a")), { type: "select", id: "a" });
    assert.equal(state.selected, "a");
    assert.equal(reduce(state, { type: "select", id: "a" }), state);
  });

  it("folds teams in the past for as long as the past is shown", () => {
    const past = { type: "past", workspaces: new Map([["a", workspace("a")]]) };
    const live = after(snapshot(1, workspace("a")), { type: "fold", id: "a", isFolded: true });
    const opened = [past, { type: "fold", id: "a", isFolded: false }].reduce(reduce, live);
    assert.equal(currentFolding(opened).byHand.get("a"), false);
    const back = reduce(opened, { type: "past", workspaces: null });
    assert.equal(currentFolding(back).byHand.get("a"), true);
  });
});

describe("the tree", () => {
  const tree = (...workspaces) => treeOf(new Map(workspaces.map((w) => [w.id, w])));

  it("has those who lead nobody before the teams, as they lie on the canvas", () => {
    const below = (id, parent) => workspace(id, { parent_id: parent });
    const { shown } = tree(workspace("a"), below("lead", "a"), below("member", "lead"), below("single", "a"));
    assert.deepEqual(shown.map(({ id }) => id), ["a", "single", "lead", "member"]);
  });

  it("counts states on every ancestor, worst first", () => {
    const [root] = tree(
      workspace("a"),
      workspace("b", { parent_id: "a" }),
      workspace("c", { parent_id: "b", status: "failed" }),
      workspace("d", { parent_id: "b", status: "paused" }),
    ).roots;
    assert.deepEqual([...root.below], [["failed", 1], ["paused", 1], ["online", 1]]);
    assert.deepEqual([root.size, root.children[0].children[0].depth, paintedStateOf(root)], [3, 2, "failed"]);
    const counts = countStates(tree(workspace("x"), workspace("y", { status: "news" })).nodes.values());
    assert.deepEqual([...counts.keys()], ["online", "news"]);
  });

  it("shows a child of an unknown parent as a root", () => {
    assert.equal(tree(workspace("a", { parent_id: "gone" })).roots.length, 1);
  });

  it("follows each change as if it were made anew", () => {
    const rows = ["a", "b", "c", "d", "e"].map((id, n) => workspace(id, { parent_id: n ? "abcde"[(n - 1) >> 1] : null }));
    const steps = [
      (all) => all.set("d", { ...all.get("d"), status: "failed" }),
      (all) => all.set("e", { ...all.get("e"), status: "offline", flapping_until: LATER }),
      (all) => all.set("d", { ...all.get("d"), status: "online" }),
      (all) => all.set("c", { ...all.get("c"), parent_id: "d" }),
      (all) => all.set("f", workspace("f", { parent_id: "c", status: "degraded" })),
      (all) => (all.delete("b"), all),
      (all) => all.set("e", { ...all.get("e"), flapping_until: null }),
    ];
    const told = (nodes) =>
      nodes.map(({ id, state, size, flapping, depth, children, below }) => {
        const counts = Object.fromEntries([...below].filter(([, n]) => n).sort());
        return { id, state, size, flapping, depth, counts, children: told(children) };
      });
    const now = Date.parse(NOON);
    const followed = new Tree();
    let all = new Map(rows.map((row) => [row.id, row]));
    followed.update(all, noFolding(), now);
    for (const step of steps) {
      all = step(new Map(all));
      followed.update(all, noFolding(), now);
      assert.deepEqual(told(followed.roots), told(treeOf(all, now).roots), String(step));
    }
  });

  it("is laid out anew only when other cards are shown", () => {
    const all = new Map([["a", workspace("a")], ["b", workspace("b", { parent_id: "a" })]]);
    const folding = noFolding();
    const followed = treeOf(all, 0, folding);
    const failed = new Map(all).set("b", { ...all.get("b"), status: "failed" });
    assert.equal(followed.update(failed, folding, 0), false);
    assert.equal(followed.update(failed, { ...folding, byHand: new Map([["a", true]]) }, 0), true);
    assert.deepEqual(followed.shown.map(({ id }) => id), ["a"]);
    assert.deepEqual([followed.position("a"), followed.position("b")], [0, -1]);
  });

  it("knows who needs somebody, and why", () => {
    const now = Date.parse(LATER);
    const condition = (fields) => {
      const [node] = treeOf(new Map([["a", workspace("a", fields)]]), now).roots;
      return [needsSomebody(node), reasonOf(node, now)];
    };
    assert.deepEqual(condition({}), [false, ""]);
    assert.deepEqual(condition({ status: "failed", failure: "no image" }), [true, "no image"]);
    assert.deepEqual(condition({ status: "degraded", last_sample_error: "503" }), [true, "503"]);
    assert.deepEqual(condition({ status: "degraded", last_error_rate: 0.5 }), [true, "50% errors"]);
    assert.deepEqual(condition({ status: "offline", last_heartbeat_at: NOON }), [true, "Last heartbeat 30 s ago"]);
    assert.deepEqual(condition({ status: "provisioning" }), [false, ""]);
    assert.equal(condition({ status: "provisioning", enrolment_expires_at: NOON })[0], true);
    assert.equal(condition({ last_refusal: REFUSAL })[0], true);
    assert.equal(condition({ flapping_until: "2026-02-01T12:00:00Z" })[0], true);
    assert.equal(condition({ status: "paused", last_refusal: REFUSAL })[0], false);
  });
});

describe("the stream", () => {
  it("waits longer each time, up to 30 seconds", () => {
    assert.deepEqual([backoff(0, 1), backoff(1, 1), backoff(1, 0), backoff(20, 1)], [500, 1000, 500, 30000]);
  });

  it("reconnects at once when the server asks for it, then waits as after any loss", () => {
    for (const code of [1012, 4408]) assert.deepEqual([retryDelay(code, 0, 1), retryDelay(code, 1, 1)], [0, 1000]);
    for (const code of [1006, 1011, 1013, null]) assert.equal(retryDelay(code, 0, 1), 500);
  });
});

describe("every structural event", () => {
  const before = workspace("a", { name: "Old", tier: 1, url: "x", agent_card: { name: "a" }, forwarded_to: null, model: "o" });
  const effects = {
    WORKSPACE_PROVISIONING: [{ from: "paused", name: "a" }, { status: "provisioning" }],
    WORKSPACE_ONLINE: [{ url: "y", agent_card: { name: "b" } }, { status: "online", url: "y", agent_card: { name: "b" } }],
    WORKSPACE_OFFLINE: [{ reason: "lease expired" }, { status: "offline" }],
    WORKSPACE_DEGRADED: [{ error_rate: 0.5, sample_error: "e" }, { status: "degraded", last_error_rate: 0.5, last_sample_error: "e" }],
    WORKSPACE_PROVISION_FAILED: [{ error: "no image" }, { status: "failed", failure: "no image" }],
    WORKSPACE_PAUSED: [{ name: "a", from: "online" }, { status: "paused" }],
    WORKSPACE_UPDATED: [
      { changes: { name: ["Old", "New"], url: ["x", "z"], agent_card: [null, { name: "c" }], forwarded_to: [null, "b"], id: ["a", "b"] } },
      { name: "New", url: "z", agent_card: { name: "c" }, forwarded_to: "b" },
    ],
    WORKSPACE_MOVED: [{ old_parent_id: null, new_parent_id: "b" }, { parent_id: "b" }],
    AGENT_CARD_UPDATED: [{ agent_card: { name: "d" } }, { agent_card: { name: "d" } }],
    WORKSPACE_EXPANDED: [{ children: [] }, {}],
    WORKSPACE_COLLAPSED: [{ removed_children: [] }, {}],
    AGENT_ASSIGNED: [{ model: "m" }, { model: "m" }],
    AGENT_REMOVED: [{ model: "o", reason: null }, { model: "" }],
    AGENT_REPLACED: [{ old_model: "o", new_model: "n" }, { model: "n" }],
    AGENT_MOVED: [{ model: "o", from_workspace_id: "a", to_workspace_id: "b" }, { model: "" }],
  };
  for (const [name, [payload, columns]] of Object.entries(effects)) {
    it(`${name} sets its fields`, () => {
      const state = after(snapshot(10, before), event(name, "a", 11, payload));
      const { updated_at, ...row } = one(state);
      assert.deepEqual(row, { ...before, ...columns });
      assert.equal(state.seq, 11);
    });
  }

  it("gives a model that moved to the other workspace", () => {
    const moved = { model: "m", from_workspace_id: "b", to_workspace_id: "a" };
    assert.equal(one(after(snapshot(10, before), event("AGENT_MOVED", "a", 11, moved))).model, "m");
  });

  it("keeps the reason of a failure across loads until the state changes", () => {
    const failed = after(snapshot(10, before), event("WORKSPACE_PROVISION_FAILED", "a", 11, { error: "no image" }));
    const again = reduce(failed, snapshot(12, { ...before, status: "failed" }));
    assert.equal(one(again).failure, "no image");
    assert.equal(one(reduce(again, snapshot(13, before))).failure, undefined);
  });
});

describe("the position", () => {
  it("is the last event of a load or of the stream, with its id", () => {
    const loaded = after({ ...snapshot(10, workspace("a")), eventId: "ten" });
    const moved = reduce(loaded, event("WORKSPACE_OFFLINE", "a", 11));
    const next = { ...event("WORKSPACE_ONLINE", "a", 12).events[0], id: "twelve" };
    const followed = reduce(moved, { type: "events", events: [next], at: 0 });
    const transient = reduce(followed, event("TASK_UPDATED", "a", null));
    assert.deepEqual([loaded, moved, transient].map(({ seq, eventId }) => [seq, eventId]), [[10, "ten"], [11, ""], [12, "twelve"]]);
  });

  it("is sent to the server, which may say that it is of another log: then it starts over", async () => {
    const sockets = [];
    let startedOver = 0;
    globalThis.location = { protocol: "http:", host: "here" };
    globalThis.WebSocket = class extends EventTarget {
      constructor(address) {
        super();
        sockets.push(Object.assign(this, { address }));
      }
      close() {}
    };
    const until = async (isTrue) => {
      while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const position = () => ({ seq: 7, eventId: "seven" });
    const onStartOver = () => (startedOver += 1);
    const stream = new Stream({ path: "/below/ws", beats: true, position, onConnecting() {}, onLost() {}, onStartOver });
    stream.connect();
    assert.equal(sockets[0].address, "ws://here/below/ws?since=7&after_id=seven&beats=1");
    sockets[0].dispatchEvent(Object.assign(new Event("close"), { code: 1012 }));
    await until(() => sockets.length === 2);
    assert.equal(startedOver, 0);
    sockets[1].dispatchEvent(Object.assign(new Event("close"), { code: 4409 }));
    await until(() => startedOver === 1);
    assert.equal(sockets.length, 2);
    stream.stop();
  });
});
