// Pure geometry and structure: the tree, health of what is below, places of roots, the camera's arithmetic.

/** Worst first: the order in which trouble is shown. */
export const STATUSES = ["failed", "offline", "degraded", "provisioning", "paused", "online"];

export const MIN_ZOOM = 0.05;
export const MAX_ZOOM = 10;
const GAP = 24;
const MOST_COLUMNS = 4;
// What a parent is higher than a leaf, without its members; in leaves.
const HEAD = 0.4;

/**
 * @typedef {Object} Node
 * @property {object} workspace
 * @property {Node[]} children
 * @property {Node[][]} columns the children as they lie on the canvas
 * @property {number} height about, in leaves
 * @property {number} depth 0 for a root
 * @property {Map<string, number>} below counts per status of all descendants, worst first
 * @property {number} size how many descendants
 * @property {boolean} isFlapping itself
 * @property {number} flapping how many descendants
 */

/**
 * Whoever's parent is not shown is a root.
 * @param {Map<string, object>} workspaces @param {number} now @returns {Node[]} the roots
 */
export function treeOf(workspaces, now) {
  const nodes = new Map();
  for (const workspace of workspaces.values()) {
    nodes.set(workspace.id, { workspace, children: [], isFlapping: isFlapping(workspace, now) });
  }
  const roots = [];
  for (const node of nodes.values()) {
    const parent = nodes.get(node.workspace.parent_id);
    (parent ? parent.children : roots).push(node);
  }
  for (const root of roots) rollUp(root, 0);
  return roots;
}

function rollUp(node, depth) {
  const counts = new Map();
  const add = (status, n) => counts.set(status, (counts.get(status) ?? 0) + n);
  for (const child of node.children) {
    rollUp(child, depth + 1);
    add(child.workspace.status, 1);
    for (const [status, n] of child.below) add(status, n);
  }
  node.columns = columnsOf(node.children);
  node.height = 1 + Math.max(0, ...node.columns.map((column) => heightOf(column) + HEAD));
  node.depth = depth;
  node.below = worstFirst(counts);
  node.flapping = node.children.reduce((sum, child) => sum + child.flapping + child.isFlapping, 0);
  node.size = [...counts.values()].reduce((sum, n) => sum + n, 0);
}

export function worstFirst(counts) {
  const rank = ([status]) => (STATUSES.includes(status) ? STATUSES.indexOf(status) : STATUSES.length);
  return new Map([...counts].sort((a, b) => rank(a) - rank(b)));
}

/**
 * Nodes side by side in about a square, in order: down the first column, then down the next.
 * What is folded counts as if it were not, so that folding moves nothing to another column.
 * @param {Node[]} nodes @returns {Node[][]} columns as even as the order allows
 */
function columnsOf(nodes) {
  if (nodes.length < 2) return nodes.length ? [nodes] : [];
  const count = Math.min(MOST_COLUMNS, Math.ceil(Math.sqrt(nodes.length)));
  let low = Math.max(...nodes.map(({ height }) => height));
  let high = heightOf(nodes);
  while (high - low > 0.1) {
    const limit = (low + high) / 2;
    if (filled(nodes, limit).length > count) low = limit;
    else high = limit;
  }
  return filled(nodes, high);
}

function filled(nodes, limit) {
  const columns = [];
  let height = Infinity;
  for (const node of nodes) {
    if (height + node.height > limit) {
      columns.push([]);
      height = 0;
    }
    columns.at(-1).push(node);
    height += node.height;
  }
  return columns;
}

const heightOf = (column) => column.reduce((total, { height }) => total + height, 0);

/** How many of each status there are, worst first. */
export function tally(workspaces) {
  const counts = new Map();
  for (const { status } of workspaces.values()) counts.set(status, (counts.get(status) ?? 0) + 1);
  return worstFirst(counts);
}

const calmAt = ({ flapping_until }) => Date.parse(flapping_until ?? "");

/** It went offline too often, not long ago. */
export const isFlapping = (workspace, now) => calmAt(workspace) > now;

/** When the next one that is flapping will be so no more; Infinity for none. */
export function nextCalm(workspaces, now) {
  let next = Infinity;
  for (const workspace of workspaces.values()) {
    if (isFlapping(workspace, now)) next = Math.min(next, calmAt(workspace));
  }
  return next;
}

/** 0, 0 is what the server answers for what nobody has placed. */
export const isPlaced = ({ x, y }) => x !== 0 || y !== 0;

/**
 * Places for what has none, in rows, around what has one. A place given before is kept while it is free.
 * @param {{id: string, width: number, height: number, x?: number, y?: number}[]} items placed ones have x, y
 * @param {Map<string, {x: number, y: number}>} before
 * @returns {Map<string, {x: number, y: number}>} only of those without a place
 */
export function arrange(items, before = new Map()) {
  const taken = items.filter((item) => item.x !== undefined);
  const loose = items.filter((item) => item.x === undefined);
  const places = new Map();
  const put = (item, place) => {
    places.set(item.id, place);
    taken.push({ ...item, ...place });
  };
  const waiting = [];
  for (const item of loose) {
    const place = before.get(item.id);
    if (place && !obstacle({ ...item, ...place }, taken)) put(item, place);
    else waiting.push(item);
  }
  const width = rowWidth(items);
  const cursor = { x: 0, y: 0, bottom: 0 };
  for (const item of waiting) put(item, nextPlace(item, taken, width, cursor));
  return places;
}

/** About as wide as a screen is, for the area there is to fill. */
function rowWidth(items) {
  const area = items.reduce((sum, { width, height }) => sum + (width + GAP) * (height + GAP), 0);
  return Math.max(1100, Math.sqrt(area) * 1.5);
}

function nextPlace(item, taken, width, cursor) {
  for (;;) {
    const hit = obstacle({ ...item, x: cursor.x, y: cursor.y }, taken);
    if (!hit && (cursor.x === 0 || cursor.x + item.width <= width)) break;
    if (hit) cursor.bottom = Math.max(cursor.bottom, hit.y + hit.height + GAP);
    if (hit && hit.x + hit.width + GAP < width) cursor.x = hit.x + hit.width + GAP;
    else Object.assign(cursor, { x: 0, y: cursor.bottom, bottom: 0 });
  }
  const place = { x: cursor.x, y: cursor.y };
  cursor.x += item.width + GAP;
  cursor.bottom = Math.max(cursor.bottom, cursor.y + item.height + GAP);
  return place;
}

const obstacle = (box, others) => others.find((other) => overlaps(box, other));

export function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** @typedef {{x: number, y: number, zoom: number}} Camera screen = world * zoom + (x, y) */

/** The same camera closer or farther, with the screen's point (px, py) standing still. */
export function zoomedAt(camera, factor, px, py) {
  const zoom = clampZoom(camera.zoom * factor);
  const ratio = zoom / camera.zoom;
  return { x: px - (px - camera.x) * ratio, y: py - (py - camera.y) * ratio, zoom };
}

/** All boxes in view, never larger than life. */
export function fitted(boxes, width, height, margin = 32) {
  const left = Math.min(...boxes.map((box) => box.x));
  const top = Math.min(...boxes.map((box) => box.y));
  const wide = Math.max(...boxes.map((box) => box.x + box.width)) - left;
  const high = Math.max(...boxes.map((box) => box.y + box.height)) - top;
  const zoom = clampZoom(Math.min(1, (width - 2 * margin) / wide, (height - 2 * margin) / high));
  const y = Math.max(margin, (height - high * zoom) / 2);
  return { x: (width - wide * zoom) / 2 - left * zoom, y: y - top * zoom, zoom };
}

export function clampZoom(zoom) {
  return Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom));
}
