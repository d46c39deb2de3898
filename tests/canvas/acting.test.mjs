// What can be done with a workspace on the canvas.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { noFolding } from "../../canvas/static/canvas/js/folding.js";
import { layOut, Placement } from "../../canvas/static/canvas/js/layout.js";
import { nodeAt } from "../../canvas/static/canvas/js/plan.js";
import { Tree } from "../../canvas/static/canvas/js/tree.js";
import { affectedBy, countIn, entriesFor, mustAsk, sentence, targetsFor, typedAhead } from "../../canvas/static/canvas/js/verbs.js";

const ALL = ["provisioning", "online", "degraded", "offline", "failed", "paused"];
const verb = (name, fields = {}) => ({ name, title: name, menu: "", statuses: ALL, includes_root: true, includes_team: true, ...fields });
const PAUSE = verb("Pause", { statuses: ALL.filter((status) => status !== "paused") });
const RESUME = verb("Resume", { statuses: ["paused"] });
const RESTART = verb("Restart", { only_run_here: true, includes_team: false });
const MOVE = verb("move", { menu: "Move to" });
const COLLAPSE = verb("Remove team", { includes_root: false, destructive: true });
const REMOVE = verb("Remove", { destructive: true });
const VERBS = [PAUSE, RESUME, RESTART, MOVE, COLLAPSE, REMOVE];

/** nodesOf({ lead: "online", "lead/member": "paused" }): by the last part of the path */
function nodesOf(statuses) {
  const rows = Object.entries(statuses).map(([path, status]) => {
    const [id, parent = null] = path.split("/").reverse();
    return [id, { id, name: id, status, parent_id: parent }];
  });
  const tree = new Tree();
  tree.update(new Map(rows), noFolding(), 0);
  return tree.nodes;
}

const idsOf = (nodes) => nodes.map(({ id }) => id);
const labels = (node, verbs = VERBS) => entriesFor(node, verbs).map(({ label }) => label);

describe("the menu of a workspace", () => {
  it("has the verbs that apply, and dots where something is asked", () => {
    const nodes = nodesOf({ lead: "online", "lead/leaf": "online" });
    assert.deepEqual(labels(nodes.get("lead")), [
      "Open", "Collapse", "Add member…", "Pause…", "Move to…", "Duplicate…", "Export bundle", "Remove team…", "Remove…",
    ]);
    assert.deepEqual(labels(nodes.get("leaf")), [
      "Open", "Add member…", "Pause", "Move to…", "Duplicate…", "Export bundle", "Remove…",
    ]);
  });

  it("offers to resume what is paused, and nothing to who may only look", () => {
    const { lead, leaf } = Object.fromEntries(nodesOf({ lead: "paused", "lead/leaf": "paused" }));
    assert.ok(labels(lead).includes("Resume…"));
    assert.ok(labels(leaf).includes("Resume"));
    assert.ok(!labels(leaf).includes("Pause"));
    assert.deepEqual(labels(lead, []), ["Open", "Collapse"]);
    assert.deepEqual(labels({ ...lead, isFolded: true }, []), ["Open", "Expand"]);
  });

  it("goes to the next entry that begins with a letter", () => {
    assert.equal(typedAhead(["Open", "Remove team…", "Remove…"], "R", 0), 1);
    assert.equal(typedAhead(["Open", "Remove team…", "Remove…"], "r", 1), 2);
    assert.equal(typedAhead(["Open", "Remove team…", "Remove…"], "r", 2), 1);
    assert.equal(typedAhead(["Open", "Remove team…"], "x", 0), -1);
  });
});

describe("whom a verb affects", () => {
  const nodes = nodesOf({ lead: "online", "lead/a": "paused", "lead/b": "online", "b/c": "offline" });
  const lead = nodes.get("lead");

  it("is the workspace and its team, as far as it applies", () => {
    assert.deepEqual(idsOf(affectedBy(PAUSE, lead)), ["lead", "b", "c"]);
    assert.deepEqual(idsOf(affectedBy(COLLAPSE, lead)), ["a", "b", "c"]);
    assert.deepEqual(affectedBy(RESUME, lead), []);
    assert.deepEqual(affectedBy(RESTART, lead), []);
  });

  it("is asked about where there are several, or it cannot be undone", () => {
    const leaf = nodes.get("c");
    assert.ok(mustAsk(PAUSE, affectedBy(PAUSE, lead)));
    assert.ok(!mustAsk(PAUSE, affectedBy(PAUSE, leaf)));
    assert.ok(mustAsk(REMOVE, affectedBy(REMOVE, leaf)));
    assert.ok(mustAsk(MOVE, affectedBy(MOVE, leaf)));
  });

  it("is said with the number that the server says", () => {
    assert.equal(sentence("Removed", REMOVE, lead, 4), "Removed lead and 3 in its team");
    assert.equal(sentence("Removed", REMOVE, lead, 1), "Removed lead");
    assert.equal(sentence("Removed", COLLAPSE, lead, 3), "Removed the 3 in the team of lead");
    assert.equal(countIn({ paused_count: 7 }, 3), 7);
    assert.equal(countIn({ cascade_deleted: 0 }, 3), 1);
    assert.equal(countIn({}, 3), 3);
  });
});

describe("where a workspace can be moved", () => {
  const nodes = nodesOf({ top: "online", lead: "online", "lead/a": "online", "a/b": "online", "lead/c": "online" });
  const labelsFor = (id) => targetsFor(nodes.get(id), nodes.values()).map(({ label }) => label);

  it("is the top level and every workspace but its own team, where it is, and itself", () => {
    assert.deepEqual(labelsFor("a"), ["Top level", "lead / c", "top"]);
    assert.deepEqual(labelsFor("lead"), ["top"]);
    assert.deepEqual(labelsFor("b"), ["Top level", "lead", "lead / c", "top"]);
  });

  it("is not where a card was held, when it is let go without having been moved", () => {
    const placement = new Placement();
    const roots = [{ id: "a", width: 240, height: 132, workspace: { x: 0, y: 0 } }];
    placement.update(roots, true);
    const { x, y } = placement.places.get("a");
    placement.hold("a", { x: 500, y: 500 });
    placement.hold("a", { x: 600, y: 600 });
    placement.update(roots, true);
    assert.deepEqual(placement.places.get("a"), { x: 600, y: 600 });
    placement.release();
    placement.update(roots, true);
    assert.deepEqual({ ...placement.places.get("a") }, { x, y });
  });

  it("is what lies behind it on the canvas", () => {
    const roots = [nodes.get("lead"), nodes.get("top")];
    layOut(roots);
    const view = { places: new Map([["lead", { x: 0, y: 0 }], ["top", { x: 10, y: 0 }]]), zoom: 1 };
    assert.equal(nodeAt(roots, view, { x: 12, y: 5 }).id, "lead");
    assert.equal(nodeAt(roots, { ...view, except: nodes.get("lead") }, { x: 12, y: 5 }).id, "top");
    assert.equal(nodeAt(roots, { ...view, except: nodes.get("lead") }, { x: 2, y: 5 }), null);
  });
});
