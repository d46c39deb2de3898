// Large organisations: the places of cards, what is drawn of them at a zoom, folds, and names.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { autoLevel, isFolded, noFolding, packed, remembered, withFold, withLevel } from "../../canvas/static/canvas/js/folding.js";
import { boxOf, layOut, arrange, Boxes, nearestFree, overlaps, pack, Placement } from "../../canvas/static/canvas/js/layout.js";
import { namesOf } from "../../canvas/static/canvas/js/names.js";
import { nodeAt, planOf } from "../../canvas/static/canvas/js/plan.js";
import { Tree } from "../../canvas/static/canvas/js/tree.js";
import { detailOf, fitOf, fitted, readableZoom, textScale, zoomedAt } from "../../canvas/static/canvas/js/zoom.js";

const row = (id, parent_id = null, fields = {}) => ({ id, parent_id, name: id, status: "online", x: 0, y: 0, ...fields });

/** Each with `each` members, `depth` levels below each of the `roots`. */
function organisation(roots, each, depth) {
  const all = new Map();
  const add = (id, parent, left) => {
    all.set(id, row(id, parent));
    for (let n = 0; left && n < each; n++) add(`${id}.${n}`, id, left - 1);
  };
  for (let n = 0; n < roots; n++) add(`r${n}`, null, depth);
  return all;
}

function laidOut(all, folding = noFolding()) {
  const tree = new Tree();
  tree.update(all, folding, 0);
  layOut(tree.roots);
  const placement = new Placement();
  placement.update(tree.roots, true);
  return { tree, places: placement.places, placement };
}

function assertApart(boxes) {
  const seen = new Boxes();
  for (const box of boxes) {
    assert.ok(!seen.hit(box), `${box.id} covers ${seen.hit(box)?.id}`);
    seen.add(box);
  }
}

describe("packing", () => {
  const sizes = (count) => Array.from({ length: count }, (_, n) => ({ width: 100 + (n % 7) * 90, height: 60 + (n % 5) * 80 }));

  it("puts no box over another, in about the shape of a screen", () => {
    for (const count of [1, 2, 5, 17, 300]) {
      const { places, width, height } = pack(sizes(count));
      assertApart(sizes(count).map((size, n) => ({ id: n, ...size, ...places[n] })));
      assert.ok(count < 17 || (width / height > 1 && width / height < 2.5), `${count}: ${width} x ${height}`);
    }
  });

  it("leaves no gap between cards of one size", () => {
    const { places } = pack(Array.from({ length: 12 }, () => ({ width: 84, height: 84 })), 16);
    assert.deepEqual([...new Set(places.map(({ x }) => x))], [0, 100, 200, 300, 400]);
    assert.deepEqual([...new Set(places.map(({ y }) => y))], [0, 100, 200]);
  });

  it("arranges around placed cards, and keeps earlier places where it can", () => {
    const loose = sizes(60).map((size, n) => ({ id: `l${n}`, ...size }));
    const placed = sizes(5).map((size, n) => ({ id: `p${n}`, x: n * 700 - 200, y: n * 200 - 100, ...size }));
    const boxes = (items, places) => items.map((item) => ({ ...item, ...places.get(item.id) }));
    const places = arrange([...loose, ...placed]);
    assertApart(boxes([...loose, ...placed], places));
    for (const { id, x, y } of placed) assert.deepEqual(places.get(id), { x, y });
    assert.deepEqual(arrange([...loose, ...placed], places), places);
    const grown = [{ ...loose[0], height: 900 }, ...loose.slice(1), ...placed];
    const rearranged = arrange(grown, places);
    assertApart(boxes(grown, rearranged));
    const moved = loose.filter(({ id }) => rearranged.get(id).y !== places.get(id).y);
    assert.ok(moved.length > 0 && moved.length < loose.length / 2, `${moved.length} moved`);
  });

  it("moves a placed card beside the one that has grown over it", () => {
    const places = arrange([{ id: "a", x: 5, y: 5, width: 500, height: 500 }, { id: "b", x: 400, y: 20, width: 100, height: 100 }]);
    assert.deepEqual(places.get("a"), { x: 5, y: 5 });
    assert.deepEqual(places.get("b"), { x: 521, y: 20 });
  });

  it("moves a dropped card to the nearest place where it covers no other", () => {
    const size = { width: 100, height: 50 };
    const other = new Boxes([{ x: 0, y: 0, ...size }]);
    assert.deepEqual(nearestFree({ x: 100, y: 0, ...size }, other), { x: 100, y: 0 });
    assert.deepEqual(nearestFree({ x: 10, y: 40, ...size }, other), { x: 10, y: 66 });
    assert.deepEqual(nearestFree({ x: 80, y: 5, ...size }, other), { x: 116, y: 5 });
    const grid = Array.from({ length: 100 }, (_, n) => ({ x: (n % 10) * 110, y: Math.floor(n / 10) * 60, ...size }));
    for (const [x, y] of [[555, 290], [0, 0], [1090, 590], [300, 12]]) {
      const place = nearestFree({ x, y, ...size }, new Boxes(grid));
      assert.ok(!grid.some((box) => overlaps({ ...place, ...size }, box)), `${x}, ${y}`);
    }
  });
});

describe("layout", () => {
  it("puts the members of each team inside it, below its head, none over another", () => {
    const { tree, places } = laidOut(organisation(3, 4, 3));
    assertApart(tree.roots.map((root) => ({ id: root.id, ...boxOf(root, places) })));
    for (const node of tree.nodes.values()) {
      assertApart(node.children.map(({ id, x, y, width, height }) => ({ id, x, y, width, height })));
      for (const { x, y, width, height } of node.children) {
        assert.ok(x >= 0 && y >= node.head && x + width <= node.width && y + height <= node.height);
      }
    }
  });

  it("keeps members where a person placed them, and the others where they would be", () => {
    const all = organisation(1, 5, 1);
    const places = (tree) => Object.fromEntries(tree.roots[0].children.map(({ id, x, y }) => [id, [x, y]]));
    const { tree } = laidOut(all);
    const before = places(tree);
    const moved = new Map(all).set("r0.4", { ...all.get("r0.4"), x: 600, y: 300 });
    assert.ok(tree.update(moved, noFolding(), 0));
    layOut(tree.roots);
    const [root] = tree.roots;
    assert.deepEqual(places(tree), { ...before, "r0.4": [14 + 600, root.head + 300] });
    assert.ok(root.width >= 14 + 600 + 240 && root.height >= root.head + 300 + 132);
    // Another member has to make room, and none covers another.
    tree.update(new Map(moved).set("r0.4", { ...all.get("r0.4"), x: 10, y: 10 }), noFolding(), 0);
    layOut(tree.roots);
    const boxes = root.children.map(({ x, y, width, height }) => ({ x, y, width, height }));
    for (const one of boxes) assert.equal(boxes.filter((other) => overlaps(one, other)).length, 1);
    // A place of the time when it was elsewhere.
    tree.update(new Map(moved).set("r0.4", { ...all.get("r0.4"), x: 9000, y: 10 }), noFolding(), 0);
    layOut(tree.roots);
    assert.deepEqual(places(tree), before);
  });

  it("keeps the layout of teams in which nothing has changed", () => {
    const all = organisation(2, 4, 2);
    const { tree } = laidOut(all);
    const [changed, other] = tree.roots;
    const before = [changed.width * changed.height, other.width * other.height];
    Object.defineProperty(other, "head", { get: () => 96, set: () => assert.fail("laid out again") });
    tree.update(new Map(all).set("new", row("new", "r0.1")), noFolding(), 0);
    layOut(tree.roots);
    assert.notEqual(changed.width * changed.height, before[0]);
    assert.equal(other.width * other.height, before[1]);
  });

  it("shrinks a folded team to one card", () => {
    const all = organisation(1, 5, 2);
    const open = laidOut(all).tree.roots[0];
    const folded = laidOut(all, withFold(noFolding(), "r0", true)).tree.roots[0];
    assert.ok(open.head > 0 && open.width > folded.width);
    assert.deepEqual([folded.head, folded.width, folded.height], [0, 240, 132]);
  });

  it("shows moved cards at their place while they are held", () => {
    const { tree, placement } = laidOut(organisation(2, 0, 0));
    placement.hold("r0", { x: 900, y: 900 });
    placement.update(tree.roots, true);
    assert.deepEqual(placement.places.get("r0"), { x: 900, y: 900 });
  });
});

describe("zoom", () => {
  it("moves around a point, and fits all cards into view", () => {
    const at = zoomedAt({ x: 10, y: 20, zoom: 1 }, 2, 110, 220);
    assert.deepEqual(at, { x: -90, y: -180, zoom: 2 });
    assert.equal(zoomedAt(at, 1000, 0, 0).zoom, 10);
    const { x, zoom } = fitted([{ x: 0, y: 0, width: 2000, height: 100 }], 1064, 800);
    assert.deepEqual([x, zoom], [32, 0.5]);
  });

  it("draws no text smaller than it is, and changes its size in steps", () => {
    const steps = new Set();
    for (let zoom = 0.05; zoom < 3; zoom *= 1.003) {
      assert.ok(zoom * textScale(zoom) >= 0.9999, `${zoom}`);
      assert.ok(zoom > 1 || zoom * textScale(zoom) < 1.2501, `${zoom}`);
      steps.add(textScale(zoom));
    }
    assert.ok(steps.size < 20);
  });

  it("goes from cards to names to blocks, and from members to a summary to a block", () => {
    const { tree } = laidOut(organisation(1, 6, 2));
    const [root] = tree.roots;
    const leaf = root.children[0].children[0];
    assert.deepEqual([1, 0.8, 0.7, 0.5, 0.35, 0.2].map(detailOf), ["full", "full", "brief", "names", "small", "far"]);
    assert.deepEqual([1, 0.35, 0.2].map((zoom) => fitOf(leaf, zoom)), ["card", "card", "block"]);
    const team = [1, 0.35, 0.2, 0.05].map((zoom) => fitOf(root.children[0], zoom));
    assert.deepEqual(team, ["open", "open", "card", "block"]);
    for (const node of [root, leaf]) assert.notEqual(fitOf(node, readableZoom(node)), "block");
  });
});

describe("what is drawn", () => {
  const all = organisation(40, 5, 2);
  const { tree, places } = laidOut(all);
  const view = (fields) => ({ places, window: { x: 0, y: 0, width: 1400, height: 900 }, zoom: 1, pinned: new Set(), isWhole: false, ...fields });
  const ids = ({ cards }) => cards.map(({ node }) => node.id);

  it("is what the window shows, each card after its parent", () => {
    const plan = planOf(tree.roots, view());
    assert.ok(plan.cards.length > 5 && plan.cards.length < 100, `${plan.cards.length}`);
    const drawn = new Set();
    for (const { node } of plan.cards) {
      assert.ok(!node.parent || drawn.has(node.parent.id));
      drawn.add(node.id);
    }
    const window = view().window;
    for (const node of tree.shown) assert.equal(drawn.has(node.id), overlaps(boxOf(node, places), window), node.id);
  });

  it("is little, however large the organisation and whatever the zoom", () => {
    const large = laidOut(organisation(10, 9, 3));
    assert.ok(large.tree.nodes.size > 8000);
    const size = { width: 1440, height: 850 };
    const extent = fitted(large.tree.roots.map((root) => boxOf(root, large.places)), size.width, size.height);
    for (let zoom = extent.zoom; zoom < 2; zoom *= 1.1) {
      const window = { x: 0, y: 0, width: size.width / zoom, height: size.height / zoom };
      const { cards } = planOf(large.tree.roots, view({ places: large.places, window, zoom }));
      assert.ok(cards.length < 400, `${cards.length} cards at ${zoom}`);
    }
  });

  it("is a block in the colour of the worst state where nothing can be read", () => {
    const sick = new Map(all).set("r1.2.3", { ...all.get("r1.2.3"), status: "failed" });
    const shown = laidOut(sick);
    const window = { x: 0, y: 0, width: 1e6, height: 1e6 };
    const { cards, blocks } = planOf(shown.tree.roots, view({ places: shown.places, window, zoom: 0.05 }));
    assert.equal(blocks.filter(({ state }) => state === "failed").length, 1);
    assert.ok(blocks.length >= 30 && cards.length < 20, `${blocks.length} blocks, ${cards.length} cards`);
  });

  it("includes pinned cards wherever they are, and everything where everything is wanted", () => {
    const far = { x: -9e5, y: 0, width: 10, height: 10 };
    assert.deepEqual(ids(planOf(tree.roots, view({ window: far, pinned: new Set(["r9", "r9.1"]) }))), ["r9", "r9.1"]);
    const whole = planOf(tree.roots, view({ window: far, zoom: 0.05, isWhole: true }));
    assert.equal(whole.cards.length, all.size);
  });

  it("can be found by its place", () => {
    const node = tree.nodes.get("r3.4.1");
    const { x, y } = boxOf(node, places);
    assert.equal(nodeAt(tree.roots, { places, zoom: 1 }, { x: x + 5, y: y + 5 }), node);
    assert.equal(nodeAt(tree.roots, { places, zoom: 0.05 }, { x: x + 5, y: y + 5 }).id, "r3");
    assert.equal(nodeAt(tree.roots, { places, zoom: 1 }, { x: -500, y: 0 }), null);
  });
});

describe("folds", () => {
  const node = (depth, fields = {}) => ({ id: "a", depth, workspace: row("a", null, fields) });

  it("are by hand, else by the server's default or by level", () => {
    const folding = withLevel(noFolding(), 2);
    assert.deepEqual([1, 2, 3].map((depth) => isFolded(node(depth), folding)), [false, true, true]);
    assert.equal(isFolded(node(1, { collapsed: true }), folding), true);
    assert.equal(isFolded(node(3), withFold(folding, "a", false)), false);
    assert.equal(isFolded(node(0), withFold(folding, "a", true)), true);
    assert.equal(isFolded(node(0), withLevel(withFold(folding, "a", true), 3)), false, "a level is for all teams");
  });

  it("come by themselves where there are too many workspaces", () => {
    assert.equal(autoLevel(organisation(3, 9, 2)), Infinity);
    const large = organisation(10, 10, 3);
    const level = autoLevel(large);
    const { tree } = laidOut(large, { ...noFolding(), auto: level });
    assert.equal(level, 2);
    assert.equal(tree.shown.length, 10 + 100 + 1000);
    assert.equal(autoLevel(organisation(2000, 1, 1)), 0);
  });

  it("are remembered, and nonsense is not", () => {
    const folding = withFold(withFold(withLevel(noFolding(), 3), "a", true), "b", false);
    assert.deepEqual(remembered(packed(folding)), folding);
    for (const text of [null, "", "[]", "{", '"x"', '{"level":"x","folded":7}']) assert.deepEqual(remembered(text), noFolding(), text);
  });
});

describe("names", () => {
  const named = (...names) => {
    const all = new Map([["team", row("team", null, { name: "Billing" })], ["other", row("other", null, { name: "Tax" })]]);
    names.forEach((name, n) => all.set(`n${n}`, row(`n${n}`, n % 2 ? "other" : "team", { name })));
    const tree = new Tree();
    tree.update(all, noFolding(), 0);
    const { textOf, teamOf } = namesOf(tree.nodes.values());
    return names.map((_, n) => [textOf(tree.nodes.get(`n${n}`)), teamOf(tree.nodes.get(`n${n}`))]);
  };

  it("that begin alike keep their ends", () => {
    const alike = named("catalyst-devforge-product-search-indexer", "x", "catalyst-devforge-product-review");
    assert.deepEqual([alike[0][0], alike[2][0]], ["catalyst… search-indexer", "catalyst… product-review"]);
    const [[alone]] = named("catalyst-devforge-product-search-indexer");
    assert.equal(alone, "catalyst-devforge-product-search-indexer");
  });

  it("that are equal tell their teams", () => {
    assert.deepEqual(named("Reviewer", "Reviewer", "Writer"), [["Reviewer", "Billing"], ["Reviewer", "Tax"], ["Writer", ""]]);
  });
});
