// Where cards lie: the size of each and its place inside its team, and the places of the top-level cards, in the units of the
// canvas. Pure: nothing is measured.

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

/** Single cards first, in columns, then the teams; those that a person placed are where they were placed. */
function arrangeTeam(node) {
  const ordered = [...node.children.filter(({ head }) => !head), ...node.children.filter(({ head }) => head)];
  const packed = pack(ordered);
  const isOwn = ({ workspace: { x, y } }) => isPlaced({ x, y }) && x <= 2 * packed.width && y <= 2 * packed.height;
  const { width, height, places } = ordered.some(isOwn) ? withPlaced(ordered, packed, isOwn) : packed;
  node.head = Math.round(Math.min(HIGHEST_HEAD, Math.max(HEAD, height * HEAD_SHARE)));
  ordered.forEach((child, n) => Object.assign(child, { x: PAD + places[n].x, y: node.head + places[n].y }));
  Object.assign(node, { width: width + 2 * PAD, height: node.head + height + PAD });
}

/** Members without a place of their own stay where they would be without the others, while that is free. */
function withPlaced(ordered, packed, isOwn) {
  const before = new Map(ordered.map(({ id }, n) => [id, packed.places[n]]));
  const items = ordered.map((node) => {
    const { id, width, height, workspace } = node;
    return { id, width, height, ...(isOwn(node) && { x: Math.max(0, workspace.x), y: Math.max(0, workspace.y) }) };
  });
  const found = arrange(items, before, packed.width);
  const least = (axis) => Math.min(0, ...ordered.map(({ id }) => found.get(id)[axis]));
  const [left, top] = [least("x"), least("y")];
  const places = ordered.map(({ id }) => ({ x: found.get(id).x - left, y: found.get(id).y - top }));
  return { ...extentOf(ordered, places), places };
}

/** The place of a member inside its team, as it is saved. @param {{x, y}} [at] a place of the canvas @param {Box} [team] */
export function placeInTeam({ x, y, parent }, at = { x, y }, team = { x: 0, y: 0 }) {
  return { x: Math.max(0, Math.round(at.x - team.x - PAD)), y: Math.max(0, Math.round(at.y - team.y - parent.head)) };
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

// --- Top-level cards: their saved place, or one arranged around the saved ones ----------------------------

/** The server answers 0, 0 for a card that was never placed. */
export const isPlaced = ({ x, y }) => x !== 0 || y !== 0;

export class Placement {
  /** @type {Map<string, {x: number, y: number}>} by id of the top-level card */
  places = new Map();
  #roots = [];
  #saved = new Map();
  #held = null;
  #kept = null;

  /**
   * @param {Node[]} roots laid out
   * @param {boolean} isOther whether they have other sizes, or are other cards
   * @returns {boolean} whether a card has another place
   */
  update(roots, isOther) {
    this.#roots = roots;
    if (!isOther && !roots.some(({ id, workspace }) => isElsewhere(this.#saved.get(id), workspace))) return false;
    this.#saved = new Map(roots.map(({ id, workspace: { x, y } }) => [id, { x, y }]));
    const items = roots.map(({ id, width, height, workspace }) => {
      const { x, y } = this.#held?.id === id ? this.#held : workspace;
      return { id, width, height, ...(isPlaced({ x, y }) && { x, y }) };
    });
    this.places = arrange(items, new Map([...(this.#kept ?? []), ...this.places]));
    return true;
  }

  /** Forgets where cards without a place were put, so that all are laid out again. */
  forget() {
    this.places = new Map();
  }

  /** Remembers the current arrangement until restore(), while the past is shown. */
  keep() {
    this.#kept = this.places;
  }

  restore() {
    this.places = this.#kept ?? this.places;
    this.#kept = null;
  }

  /** Where a card dropped at a place goes: there, or beside the cards that it would cover. */
  freePlace(node, place) {
    const others = this.#roots.filter(({ id }) => id !== node.id);
    const boxes = others.map(({ id, width, height }) => ({ ...this.places.get(id), width, height }));
    return nearestFree({ ...place, width: node.width, height: node.height }, new Boxes(boxes));
  }

  /** Moves a card with the pointer; until release() nothing else moves it. */
  hold(id, { x, y }) {
    const home = this.#held?.home ?? this.places.get(id);
    this.#held = { id, x, y, home };
    this.places.set(id, { x, y });
  }

  /** The card goes back to where it was. */
  release() {
    if (!this.#held) return;
    const { id, home } = this.#held;
    this.places.set(id, home);
    this.#saved.delete(id);
    this.#held = null;
  }
}

/** @param {{x, y}|undefined} saved @param {{x, y}} now */
export const isElsewhere = (saved, { x, y }) => saved?.x !== x || saved?.y !== y;

// --- Boxes of which none covers another -------------------------------------------------------------------

const GAP = 16;
const CELL = 600;
const ASPECT = 1.6;
/** Widths that are tried, as multiples of that of one without gaps, for so many boxes at most. */
const TRIED = [0.8, 0.9, 1, 1.1, 1.25, 1.4, 1.6];
const MOST_TRIED = 80;

/** @typedef {{x: number, y: number, width: number, height: number}} Box */
/** @typedef {{id: string, width: number, height: number, x?: number, y?: number}} Item placed ones have x, y */

/**
 * Packs boxes, in order, into about the shape of a screen: each as high as it fits, and then as far left.
 * @param {{width: number, height: number}[]} sizes
 * @returns {{width: number, height: number, places: {x: number, y: number}[]}}
 */
export function pack(sizes, gap = GAP) {
  let [area, widest] = [0, 0];
  for (const { width, height } of sizes) {
    area += (width + gap) * (height + gap);
    widest = Math.max(widest, width + gap);
  }
  const isEven = sizes.every(({ width, height }) => width === sizes[0].width && height === sizes[0].height);
  const ideal = Math.sqrt(area * ASPECT);
  const limits = isEven ? [Math.ceil(ideal / widest) * widest] : (sizes.length > MOST_TRIED ? [1] : TRIED).map((factor) => factor * ideal);
  let best = null;
  for (const limit of limits) {
    const packed = packInto(Math.max(widest, limit), sizes, gap);
    if (!best || scaleOf(packed) < scaleOf(best)) best = packed;
  }
  return best;
}

/** How large a screen of the usual shape must be. */
const scaleOf = ({ width, height }) => Math.max(width / ASPECT, height);

function packInto(limit, sizes, gap) {
  const skyline = [{ x: 0, y: 0, width: limit }];
  const places = sizes.map((size) => put(skyline, size.width + gap, size.height + gap));
  return { ...extentOf(sizes, places), places };
}

function extentOf(sizes, places) {
  const extent = (axis, side) => sizes.reduce((most, size, n) => Math.max(most, places[n][axis] + size[side]), 0);
  return { width: extent("x", "width"), height: extent("y", "height") };
}

/** Puts one box upon the skyline, which has neighbouring segments { x, y, width }. */
function put(skyline, width, height) {
  const right = skyline.at(-1).x + skyline.at(-1).width;
  let best = null;
  for (let n = 0; n < skyline.length && skyline[n].x + width <= right; n++) {
    const y = restingOn(skyline, n, width);
    if (!best || y < best.y) best = { n, x: skyline[n].x, y };
  }
  const { n, x, y } = best;
  let end = n;
  while (end < skyline.length && skyline[end].x + skyline[end].width <= x + width) end++;
  const rest = skyline[end];
  if (rest && rest.x < x + width) Object.assign(rest, { width: rest.x + rest.width - x - width, x: x + width });
  skyline.splice(n, end - n, { x, y: y + height, width });
  join(skyline, n);
  return { x, y };
}

function restingOn(skyline, n, width) {
  let y = 0;
  for (let left = width; left > 0; n++) {
    y = Math.max(y, skyline[n].y);
    left -= skyline[n].width;
  }
  return y;
}

function join(skyline, n) {
  for (const at of [n + 1, n]) {
    if (skyline[at - 1]?.y !== skyline[at]?.y || !skyline[at]) continue;
    skyline[at - 1].width += skyline[at].width;
    skyline.splice(at, 1);
  }
}

/**
 * Places for all items, none covering another. A placed item is where it was placed, or as near to it as the ones
 * before it allow. The others are packed around those; a place in `before` is kept while it is free.
 * @param {Item[]} items @param {Map<string, {x: number, y: number}>} before @param {number} [wide] of the rows of others
 * @returns {Map<string, {x: number, y: number}>}
 */
export function arrange(items, before = new Map(), wide = Math.max(1100, 1.3 * Math.sqrt(areaOf(items)))) {
  const loose = items.filter((item) => item.x === undefined);
  if (loose.length === items.length && !loose.some(({ id }) => before.has(id))) return packed(loose);
  const taken = new Boxes();
  const places = new Map();
  const keep = (item, { x, y }) => {
    places.set(item.id, { x, y });
    taken.add({ x, y, width: item.width, height: item.height });
  };
  for (const item of items) if (item.x !== undefined) keep(item, nearestFree(item, taken));
  const waiting = [];
  for (const item of loose) {
    const place = before.get(item.id);
    if (place && !taken.hit({ ...item, ...place })) keep(item, place);
    else waiting.push(item);
  }
  const cursor = { x: 0, y: 0, bottom: 0 };
  for (const item of waiting) keep(item, nextPlace(item, taken, wide, cursor));
  return places;
}

const areaOf = (sizes) => sizes.reduce((sum, { width, height }) => sum + (width + GAP) * (height + GAP), 0);

function packed(items) {
  const { places } = pack(items, 1.5 * GAP);
  return new Map(items.map(({ id }, n) => [id, places[n]]));
}

/** The next place in rows from the top left. */
function nextPlace(item, taken, width, cursor) {
  for (;;) {
    const hit = taken.hit({ ...item, x: cursor.x, y: cursor.y });
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

/** Boxes by the cells of a grid, so that finding one that is covered takes no look at all. */
export class Boxes {
  #cells = new Map();

  /** @param {Box[]} boxes */
  constructor(boxes = []) {
    for (const box of boxes) this.add(box);
  }

  add(box) {
    for (const key of cellsOf(box)) {
      if (!this.#cells.has(key)) this.#cells.set(key, []);
      this.#cells.get(key).push(box);
    }
  }

  /** @returns {Box|undefined} one that the given box covers in part */
  hit(box) {
    for (const key of cellsOf(box)) {
      const found = this.#cells.get(key)?.find((other) => overlaps(box, other));
      if (found) return found;
    }
    return undefined;
  }
}

function* cellsOf({ x, y, width, height }) {
  for (let column = Math.floor(x / CELL); column * CELL < x + width; column++) {
    for (let row = Math.floor(y / CELL); row * CELL < y + height; row++) yield `${column} ${row}`;
  }
}

/**
 * Where a box can be put without covering another: its own place, or the nearest free one beside the others.
 * @param {Box} box @param {Boxes} others @returns {{x: number, y: number}}
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
    const hit = others.hit({ ...box, x, y });
    if (!hit) return { x, y };
    propose({ x: hit.x - GAP - box.width, y });
    propose({ x: hit.x + hit.width + GAP, y });
    propose({ x, y: hit.y - GAP - box.height });
    propose({ x, y: hit.y + hit.height + GAP });
  }
}

export function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
