// Which cards are drawn: those in the window that can be read, and blocks for the others. Pure.

import { isOpen, overlaps } from "./layout.js";
import { paintedStateOf } from "./tree.js";
import { fitOf } from "./zoom.js";

/**
 * @typedef {Object} Drawn
 * @property {Node} node
 * @property {"open"|"card"|"block"|"hidden"} fit see fitOf(); "hidden": inside a team that shows only its summary
 * @property {number} x @property {number} y inside the parent
 */

/**
 * @param {Node[]} roots
 * @param {object} view
 * @param {Map<string, {x: number, y: number}>} view.places of the roots
 * @param {Box} view.window the part of the canvas to draw
 * @param {number} view.zoom
 * @param {Set<string>} view.pinned ids that are drawn wherever they are, each with those above it
 * @param {boolean} view.isWhole whether all cards are drawn, because they are few
 * @returns {{cards: Drawn[], blocks: {x, y, width, height, state}[]}} `cards`: each after its parent
 */
export function planOf(roots, view) {
  const plan = { cards: [], blocks: [] };
  for (const root of roots) {
    const { x, y } = view.places.get(root.id);
    draw(plan, root, { x, y }, { x, y }, true, view);
  }
  return plan;
}

function draw(plan, node, at, inside, isParentOpen, view) {
  const isPinned = view.isWhole || view.pinned.has(node.id);
  const box = { ...at, width: node.width, height: node.height };
  const isSeen = overlaps(box, view.window);
  if (!isSeen && !isPinned) return;
  const fit = isParentOpen ? fitOf(node, view.zoom) : "hidden";
  if (fit === "block" && isSeen) plan.blocks.push({ ...box, state: paintedStateOf(node) });
  if (["block", "hidden"].includes(fit) && !isPinned) return;
  plan.cards.push({ node, fit, ...inside });
  if (!isOpen(node) || (fit !== "open" && !isPinned)) return;
  for (const child of node.children) {
    draw(plan, child, { x: at.x + child.x, y: at.y + child.y }, child, fit === "open", view);
  }
}

/** The deepest node at a point of the canvas, as far as it is drawn, behind `except`; null beside all cards. */
export function nodeAt(roots, { places, zoom, except }, point) {
  let found = null;
  let [nodes, left, top] = [roots, 0, 0];
  for (;;) {
    const hit = nodes.find((node) => {
      if (node === except) return false;
      const { x, y } = found ? node : places.get(node.id);
      return contains({ x: left + x, y: top + y, width: node.width, height: node.height }, point);
    });
    if (!hit) return found;
    const { x, y } = found ? hit : places.get(hit.id);
    [found, left, top] = [hit, left + x, top + y];
    if (fitOf(hit, zoom) !== "open") return hit;
    nodes = hit.children;
  }
}

const contains = ({ x, y, width, height }, point) =>
  x <= point.x && point.x < x + width && y <= point.y && point.y < y + height;
