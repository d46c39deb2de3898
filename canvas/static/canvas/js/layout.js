// The size of each card, and its place inside its team, in the units of the canvas. Pure: nothing is measured.

import { GAP, pack } from "./packing.js";

export const CARD = { width: 240, height: 132 };
/** The head of an open team, at least; that of a larger team is higher, so that its name can be read from afar. */
const HEAD = 96;
const HIGHEST_HEAD = 420;
const HEAD_SHARE = 0.1;
const PAD = 14;

/**
 * Sets width and height of each node, head of each open team, and x and y inside its parent. A team in which nothing
 * has changed keeps its layout: `isMoved` of its nodes is false.
 * @param {Node[]} roots
 */
export function layOut(roots) {
  for (const root of roots) sized(root);
}

/** @returns {boolean} whether the size is another one */
function sized(node) {
  const { width, height } = node;
  if (node.children.length && !node.isFolded) {
    let isOther = node.isMoved;
    for (const child of node.children) isOther = sized(child) || isOther;
    if (isOther) arrangeTeam(node);
  } else {
    Object.assign(node, CARD, { head: 0 });
  }
  node.isMoved = false;
  return width !== node.width || height !== node.height;
}

/** Single cards first, in columns, then the teams. */
function arrangeTeam(node) {
  const ordered = [...node.children.filter(({ head }) => !head), ...node.children.filter(({ head }) => head)];
  const { width, height, places } = pack(ordered);
  node.head = Math.round(Math.min(HIGHEST_HEAD, Math.max(HEAD, height * HEAD_SHARE)));
  ordered.forEach((child, n) => Object.assign(child, { x: PAD + places[n].x, y: node.head + places[n].y }));
  Object.assign(node, { width: width + 2 * PAD, height: node.head + height + PAD });
}

/** Whether a node is an open team, with its members inside. */
export const isOpen = ({ head }) => head > 0;

/** The box of a node on the canvas. @param {Map<string, {x: number, y: number}>} places of the roots */
export function boxOf(node, places) {
  let [x, y] = [0, 0];
  let top = node;
  for (; top.parent; top = top.parent) {
    x += top.x;
    y += top.y;
  }
  const place = places.get(top.id) ?? { x: 0, y: 0 };
  return { x: place.x + x, y: place.y + y, width: node.width, height: node.height };
}
