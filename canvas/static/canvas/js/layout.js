// The tree of workspaces, its states, the places of top-level cards, and camera arithmetic. Pure.

/** Worst first. */
const STATES = ["failed", "offline", "degraded", "enrolment-expired", "provisioning", "paused", "online"];
const LABELS = { provisioning: "awaiting agent", "enrolment-expired": "enrolment expired" };

export const MIN_ZOOM = 0.05;
export const MAX_ZOOM = 10;
const GAP = 24;
const MOST_COLUMNS = 4;
// The extra height of a parent card without its members, in leaf cards.
const HEAD = 0.4;

/**
 * @typedef {Object} Node
 * @property {object} workspace
 * @property {Node[]} children
 * @property {string} state see stateOf()
 * @property {Node[][]} columns the children as they are arranged on the canvas
 * @property {number} height approximate, in leaf cards
 * @property {number} depth 0 for a root
 * @property {Map<string, number>} below number of descendants in each state, worst first
 * @property {number} size number of descendants
 * @property {boolean} isFlapping the workspace itself
 * @property {number} flapping number of flapping descendants
 */

/**
 * A workspace whose parent is not in `workspaces` is a root.
 * @param {Map<string, object>} workspaces @param {number} now milliseconds @returns {Node[]} the roots
 */
export function treeOf(workspaces, now) {
  const nodes = new Map();
  for (const workspace of workspaces.values()) {
    const state = stateOf(workspace, now);
    nodes.set(workspace.id, { workspace, children: [], state, isFlapping: isFlapping(workspace, now) });
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
  const add = (state, n) => counts.set(state, (counts.get(state) ?? 0) + n);
  for (const child of node.children) {
    rollUp(child, depth + 1);
    add(child.state, 1);
    for (const [state, n] of child.below) add(state, n);
  }
  node.columns = columnsOf(node.children);
  node.height = 1 + Math.max(0, ...node.columns.map((column) => heightOf(column) + HEAD));
  node.depth = depth;
  node.below = worstFirst(counts);
  node.flapping = node.children.reduce((sum, child) => sum + child.flapping + child.isFlapping, 0);
  node.size = [...counts.values()].reduce((sum, n) => sum + n, 0);
}

function worstFirst(counts) {
  const rank = ([state]) => (STATES.includes(state) ? STATES.indexOf(state) : STATES.length);
  return new Map([...counts].sort((a, b) => rank(a) - rank(b)));
}

/**
 * Arranges nodes in about a square: down the first column, then down the next. A collapsed card counts with its full
 * height, so that collapsing it moves no card to another column.
 * @param {Node[]} nodes @returns {Node[][]} columns, as even as the order allows
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

export function countStates(workspaces, now) {
  const counts = new Map();
  for (const workspace of workspaces.values()) {
    const state = stateOf(workspace, now);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  return worstFirst(counts);
}

/** The status, or "enrolment-expired" for a workspace whose agent can no longer register. */
export function stateOf({ status, enrolment_expires_at }, now) {
  return status === "provisioning" && Date.parse(enrolment_expires_at ?? "") <= now ? "enrolment-expired" : status;
}

/** "awaiting agent" for "provisioning"; most states are their own label. */
export const stateLabel = (state) => LABELS[state] ?? state;

export const isFlapping = ({ flapping_until }, now) => Date.parse(flapping_until ?? "") > now;

/** When the clock alone will next change what is shown: flapping or an enrolment ends. Infinity for never. */
export function nextStateChange(workspaces, now) {
  let next = Infinity;
  for (const { flapping_until, status, enrolment_expires_at } of workspaces.values()) {
    for (const end of [flapping_until, status === "provisioning" && enrolment_expires_at]) {
      const at = Date.parse(end || "");
      if (at > now) next = Math.min(next, at);
    }
  }
  return next;
}

/** The server answers 0, 0 for a card that was never placed. */
export const isPlaced = ({ x, y }) => x !== 0 || y !== 0;

/**
 * Finds places, in rows, for the items that have none, around those that have one. A place in `before` is kept while
 * it is free.
 * @param {{id: string, width: number, height: number, x?: number, y?: number}[]} items placed ones have x, y
 * @param {Map<string, {x: number, y: number}>} before
 * @returns {Map<string, {x: number, y: number}>} for the items without a place
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

/** A width that gives the total area about the shape of a screen. */
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

/**
 * Where a box can be put without covering another: its own place, or the nearest free one beside the others.
 * @param {{x: number, y: number, width: number, height: number}} box @returns {{x: number, y: number}}
 */
export function nearestFree(box, others) {
  const tried = new Set();
  const open = [];
  const propose = ({ x, y }) => {
    const key = `${x} ${y}`;
    if (!tried.has(key)) open.push({ x, y, distance: Math.hypot(x - box.x, y - box.y) });
    tried.add(key);
  };
  propose(box);
  for (;;) {
    const nearest = open.reduce((best, place) => (place.distance < best.distance ? place : best));
    open.splice(open.indexOf(nearest), 1);
    const { x, y } = nearest;
    const hit = obstacle({ ...box, x, y }, others);
    if (!hit) return { x, y };
    propose({ x: hit.x - GAP - box.width, y });
    propose({ x: hit.x + hit.width + GAP, y });
    propose({ x, y: hit.y - GAP - box.height });
    propose({ x, y: hit.y + hit.height + GAP });
  }
}

const obstacle = (box, others) => others.find((other) => overlaps(box, other));

export function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** @typedef {{x: number, y: number, zoom: number}} Camera screen = world * zoom + (x, y) */

/** The camera after zooming by `factor` around the point (px, py) of the screen. */
export function zoomedAt(camera, factor, px, py) {
  const zoom = clampZoom(camera.zoom * factor);
  const ratio = zoom / camera.zoom;
  return { x: px - (px - camera.x) * ratio, y: py - (py - camera.y) * ratio, zoom };
}

/** The camera that shows all boxes, at 100 % at most. */
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
