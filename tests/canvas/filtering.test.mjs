// The filter of the canvas: its address, what matches, what is dimmed, and what the list leaves out.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { filterOf, fits, NO_FILTER, sift, sizeOf, toggled, withFilter } from "../../canvas/static/canvas/js/filtering.js";
import { noFolding, withFold } from "../../canvas/static/canvas/js/folding.js";
import { layOut } from "../../canvas/static/canvas/js/layout.js";
import { planOf } from "../../canvas/static/canvas/js/plan.js";
import { countStates } from "../../canvas/static/canvas/js/states.js";
import { reduce, initialState } from "../../canvas/static/canvas/js/store.js";
import { Tree } from "../../canvas/static/canvas/js/tree.js";

const NOW = Date.parse("2026-10-01T12:00:00Z");
const ago = (minutes) => new Date(NOW - minutes * 60_000).toISOString();
const id = (number) => `0c0ffee0-0000-4000-8000-${String(number).padStart(12, "0")}`;
const BEATING = { status: "online", tier: 1, active_tasks: 0, last_heartbeat_at: ago(1), updated_at: ago(60), x: 0, y: 0 };
/** A lead with two members, of which the second leads another; and one alone. */
const rows = (...fields) =>
  [null, 0, 0, 2, null].map((parent, n) => ({
    ...BEATING,
    id: id(n),
    name: `Agent ${n}`,
    parent_id: parent === null ? null : id(parent),
    ...fields[n],
  }));

function tree(all, folding = noFolding()) {
  const made = new Tree();
  made.update(new Map(all.map((one) => [one.id, one])), folding, NOW);
  return made;
}

const numbersOf = (nodes) => nodes.map((node) => Number(node.id.slice(-4)));
const found = (all, filter) => numbersOf(sift(tree(all).nodes, { ...NO_FILTER, ...filter }, NOW));
const parse = (query) => filterOf(new URLSearchParams(query));
const conditionsOf = (query) => Object.fromEntries(Object.entries(parse(query)).filter(([, value]) => value));

describe("the address of a filter", () => {
  it("is read as GET /workspaces reads it: several values, or one with commas", () => {
    assert.deepEqual(conditionsOf("status=offline&status=failed&tier=2&runtime=crewai&q=data+team&attention=1&stale=1"), {
      status: "failed,offline",
      tier: "2",
      runtime: "crewai",
      q: "data team",
      attention: "1",
      stale: "1",
    });
    assert.deepEqual(conditionsOf(`status=flapping,failed&team=${id(7).toUpperCase()}`), { status: "failed,flapping", team: id(7) });
  });

  it("is no condition where it is not known", () => {
    assert.deepEqual(parse("status=news&tier=9&team=x&attention=yes&stale=&ws=1&view=list"), NO_FILTER);
    assert.deepEqual(conditionsOf("tier=1&tier=2&status=news,paused"), { status: "paused" });
    assert.equal(parse(`q=${"x".repeat(999)}`).q.length, 200);
  });

  it("comes back as it was written, beside everything else", () => {
    const query = new URLSearchParams("ws=a&tab=events&view=list&status=paused&tier=4&q=old");
    const filter = { ...NO_FILTER, status: "failed,offline", q: "a, b", team: id(1), stale: "1" };
    const written = withFilter(query, filter);
    assert.deepEqual(filterOf(written), filter);
    assert.equal(String(written), `ws=a&tab=events&view=list&status=failed&status=offline&team=${id(1)}&q=a%2C+b&stale=1`);
    assert.equal(String(withFilter(written, NO_FILTER)), "ws=a&tab=events&view=list");
  });

  it("has each state once", () => {
    const one = toggled(NO_FILTER, "offline");
    assert.equal(toggled(one, "failed").status, "failed,offline");
    assert.deepEqual(toggled(one, "offline"), NO_FILTER);
    assert.deepEqual([sizeOf(NO_FILTER), sizeOf({ ...toggled(one, "failed"), tier: "1" })], [0, 2]);
  });

  it("is in the state of the page", () => {
    const filter = toggled(NO_FILTER, "failed");
    assert.equal(reduce(initialState(), { type: "filter", filter }).filter, filter);
    assert.equal(initialState().filter, NO_FILTER);
  });
});

describe("a filter", () => {
  it("wants one of the states, the tier, the runtime and the team", () => {
    const all = rows({ status: "failed", tier: 2 }, { status: "offline", runtime: "crewai", tier: 2 }, { runtime: "" }, { runtime: "crewai" });
    assert.deepEqual(found(all, { status: "failed,offline" }), [0, 1]);
    assert.deepEqual(found(all, { status: "failed,offline", runtime: "crewai" }), [1]);
    assert.deepEqual(found(all, { tier: "2" }), [0, 1]);
    assert.deepEqual(found(all, { runtime: "unknown" }), [0, 2, 4]);
    assert.deepEqual(found(all, { team: id(0) }), [1, 2, 3]);
    assert.deepEqual(found(all, { team: id(2) }), [3]);
    assert.deepEqual(found(all, { team: id(9) }), []);
  });

  it("knows what flaps, what needs somebody and whose enrolment has expired", () => {
    const all = rows({ flapping_until: ago(-5) }, { status: "degraded" }, { status: "paused" }, { status: "provisioning", enrolment_expires_at: ago(1) });
    assert.deepEqual(found(all, { status: "flapping" }), [0]);
    assert.deepEqual(found(all, { status: "enrolment-expired,flapping" }), [0, 3]);
    assert.deepEqual(found(all, { attention: "1" }), [0, 1, 3]);
  });

  it("finds who has sent no heartbeat for five minutes, where heartbeats are expected", () => {
    const old = { last_heartbeat_at: ago(6) };
    const never = { last_heartbeat_at: null, updated_at: ago(6) };
    assert.deepEqual(found(rows(old, { ...old, status: "offline" }, { ...old, status: "paused" }, { ...old, status: "provisioning" }, never), { stale: "1" }), [0, 1, 4]);
    const past = { ...old, active_tasks: null };
    assert.deepEqual(found(rows(past, { ...past, status: "offline" }), { stale: "1" }), [1]);
  });

  it("finds words in names, roles and skills, and the beginning of an id", () => {
    const one = { id: id(1), name: "Crawler", role: "Reads the Web", agent_card: { skills: [{ name: "Summaries" }, "pdf", 7, null] } };
    for (const text of ["crawl", "WEB crawler", "summaries", "pdf reads", "0c0ffee", "0c0ffee0-0000-40"]) assert.ok(fits(one, text), text);
    for (const text of ["spider", "crawler mail", "0c0ff", "7"]) assert.ok(!fits(one, text), text);
    assert.ok(!fits({ id: id(1), name: "A", role: null, agent_card: null }, "null"));
  });
});

describe("what does not match", () => {
  const stateOf = ({ isDimmed, isOnWay }) => (isDimmed ? "dimmed" : isOnWay ? "on the way" : "shown");
  const states = (made) => [...made.nodes.values()].map(stateOf);

  it("is dimmed, unless it leads to what does", () => {
    const made = tree(rows({}, {}, {}, { status: "failed" }));
    const filter = { ...NO_FILTER, status: "failed" };
    sift(made.nodes, filter, NOW);
    assert.deepEqual(states(made), ["on the way", "dimmed", "on the way", "shown", "dimmed"]);
    assert.equal(sift(made.nodes, NO_FILTER, NOW), null);
    assert.deepEqual(states(made), Array(5).fill("shown"));
    sift(made.nodes, { ...filter, status: "online,failed" }, NOW);
    assert.deepEqual(states(made), Array(5).fill("shown"));
  });

  it("is painted in one quiet colour, where cards are too small to read", () => {
    const made = tree(rows({}, { status: "failed" }, {}, {}, { status: "failed" }));
    sift(made.nodes, { ...NO_FILTER, team: id(0) }, NOW);
    layOut(made.roots);
    const view = { places: new Map(made.roots.map((root, n) => [root.id, { x: 3000 * n, y: 0 }])), zoom: 0.05, pinned: new Set(), isWhole: false };
    const window = { x: -9999, y: -9999, width: 99999, height: 99999 };
    assert.deepEqual(planOf(made.roots, { ...view, window }).blocks.map(({ state }) => state), ["failed", "dimmed"]);
  });

  it("is left out of the list, and comes back", () => {
    const made = tree(rows({}, {}, {}, { status: "failed" }));
    sift(made.nodes, { ...NO_FILTER, status: "failed" }, NOW);
    made.leaveOut(true);
    assert.deepEqual(numbersOf(made.shown), [0, 2, 3]);
    assert.deepEqual([made.position(id(3)), made.position(id(1))], [2, -1]);
    made.leaveOut(false);
    assert.deepEqual(numbersOf(made.shown), [0, 1, 2, 3, 4]);
    assert.equal(made.position(id(1)), 1);
  });

  it("may be in a folded team, which then stands for it", () => {
    const made = tree(rows({}, {}, {}, { status: "failed" }), withFold(noFolding(), id(2), true));
    sift(made.nodes, { ...NO_FILTER, status: "failed" }, NOW);
    made.leaveOut(true);
    assert.deepEqual(numbersOf(made.shown), [0, 2]);
  });
});

describe("the counts of the header", () => {
  it("are worst first, with what flaps, and keep a state that is filtered by", () => {
    const { nodes } = tree(rows({}, { flapping_until: ago(-5) }, { status: "paused" }));
    assert.deepEqual([...countStates(nodes.values(), ["failed"])], [["failed", 0], ["paused", 1], ["online", 4], ["flapping", 1]]);
  });
});
