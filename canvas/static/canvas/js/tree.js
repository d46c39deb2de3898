// The tree of workspaces with the state of each team, kept up to date by what has changed. No DOM.

import { isFolded } from "./folding.js";
import { isElsewhere } from "./layout.js";
import { needsSomebody, stateChangeOf, worstFirst } from "./states.js";
import { isFlapping, stateOf } from "../../ui/workspaces.js";

/**
 * @typedef {Object} Node
 * @property {string} id
 * @property {object} workspace
 * @property {Node|null} parent
 * @property {Node[]} children
 * @property {string} state see stateOf()
 * @property {boolean} isFlapping the workspace itself
 * @property {boolean} needs whether the workspace itself needs somebody
 * @property {number} depth 0 for a root
 * @property {Map<string, number>} below number of descendants in each state
 * @property {number} size number of descendants
 * @property {number} flapping number of flapping descendants
 * @property {boolean} isFolded a team that shows none of its members
 * @property {boolean} isDimmed @property {boolean} isOnWay see sift()
 * @property {boolean} isMoved its members, their places or their folds have changed: see layout.js
 */

export class Tree {
  /** @type {Map<string, Node>} by created_at */
  nodes = new Map();
  /** @type {Node[]} */
  roots = [];
  /** @type {Node[]} those in no folded team, each before its members; see leaveOut() */
  shown = [];
  #unfolded = [];
  nextChangeAt = Infinity;
  /** Counts the changes of names. */
  names = 0;
  #workspaces = null;
  #folding = null;
  #positions = null;

  /**
   * A workspace whose parent is not in `workspaces` is a root.
   * @param {Map<string, object>} workspaces @param {Folding} folding
   * @param {number} now milliseconds
   * @returns {boolean} whether the cards must be laid out again
   */
  update(workspaces, folding, now) {
    const isLate = now >= this.nextChangeAt;
    const { isOther, isPlacedOther, changed } = workspaces === this.#workspaces ? UNCHANGED : this.#take(workspaces);
    if (isLate) this.nextChangeAt = Infinity;
    const judged = isOther || isLate ? this.nodes.values() : changed;
    for (const node of judged) this.#judge(node, now, isOther);
    if (isOther) this.#connect();
    const isFoldingOther = isOther || folding !== this.#folding;
    if (isFoldingOther) this.#fold(folding);
    this.#workspaces = workspaces;
    return isFoldingOther || isPlacedOther;
  }

  /** The position of a node among those shown; -1 inside a folded team. */
  position(id) {
    this.#positions ??= new Map(this.shown.map((node, n) => [node.id, n]));
    return this.#positions.get(id) ?? -1;
  }

  /** Whether `shown` is without what is dimmed. */
  leaveOut(isLeftOut) {
    if (!isLeftOut && this.shown === this.#unfolded) return;
    this.shown = isLeftOut ? this.#unfolded.filter(({ isDimmed }) => !isDimmed) : this.#unfolded;
    this.#positions = null;
  }

  /** Takes the rows. `isOther`: there are other workspaces, or other teams; `isPlacedOther`: members have other places. */
  #take(workspaces) {
    const changed = [];
    let [isOther, isPlacedOther] = [false, false];
    let kept = 0;
    for (const [id, workspace] of workspaces) {
      const node = this.nodes.get(id);
      if (node) kept += 1;
      if (node?.workspace === workspace) continue;
      if (!node || node.workspace.parent_id !== workspace.parent_id) isOther = true;
      if (node?.workspace.name !== workspace.name) this.names += 1;
      if (node?.parent && isElsewhere(node.workspace, workspace)) node.parent.isMoved = isPlacedOther = true;
      if (!node) this.nodes.set(id, nodeOf(workspace));
      else changed.push(Object.assign(node, { workspace }));
    }
    // Another order of creation, or fewer: as in the past.
    if (kept < this.nodes.size || isOther) {
      isOther = true;
      this.nodes = new Map([...workspaces.keys()].map((id) => [id, this.nodes.get(id)]));
    }
    return { isOther, isPlacedOther, changed };
  }

  #judge(node, now, isOther) {
    const { state, isFlapping: wasFlapping } = node;
    node.state = stateOf(node.workspace, now);
    node.isFlapping = isFlapping(node.workspace, now);
    node.needs = needsSomebody(node);
    this.nextChangeAt = Math.min(this.nextChangeAt, stateChangeOf(node.workspace, now));
    if (isOther || (state === node.state && wasFlapping === node.isFlapping)) return;
    for (let up = node.parent; up; up = up.parent) {
      up.below = new Map(up.below).set(state, up.below.get(state) - 1);
      up.below.set(node.state, (up.below.get(node.state) ?? 0) + 1);
      up.flapping += node.isFlapping - wasFlapping;
    }
  }

  #connect() {
    const members = new Map();
    this.roots = [];
    for (const node of this.nodes.values()) {
      node.parent = this.nodes.get(node.workspace.parent_id) ?? null;
      if (!node.parent) this.roots.push(node);
      else if (members.has(node.parent)) members.get(node.parent).push(node);
      else members.set(node.parent, [node]);
    }
    for (const node of this.nodes.values()) {
      const [single, leads] = [[], []];
      for (const member of members.get(node) ?? []) (members.has(member) ? leads : single).push(member);
      // As they lie on the canvas.
      const children = [...single, ...leads];
      if (!areSame(node.children, children)) node.isMoved = true;
      node.children = children;
    }
    for (const root of this.roots) rollUp(root, 0);
  }

  #fold(folding) {
    this.#folding = folding;
    this.#positions = null;
    this.shown = this.#unfolded = [];
    const show = (node, isShown) => {
      const isNow = node.children.length > 0 && isFolded(node, folding);
      if (isNow !== node.isFolded) Object.assign(node, { isFolded: isNow, isMoved: true });
      if (isShown) this.#unfolded.push(node);
      for (const child of node.children) show(child, isShown && !isNow);
    };
    for (const root of this.roots) show(root, true);
  }
}

export const DIMMED = "dimmed";
const UNCHANGED = { isOther: false, isPlacedOther: false, changed: [] };

const areSame = (before, after) => before.length === after.length && before.every((node, n) => node === after[n]);

const nodeOf = (workspace) => ({
  id: workspace.id,
  workspace,
  parent: null,
  children: [],
  isFolded: false,
  isDimmed: false,
  isOnWay: false,
  isMoved: true,
});

function rollUp(node, depth) {
  Object.assign(node, { depth, below: new Map(), size: node.children.length, flapping: 0 });
  for (const child of node.children) {
    rollUp(child, depth + 1);
    node.below.set(child.state, (node.below.get(child.state) ?? 0) + 1);
    for (const [state, n] of child.below) node.below.set(state, (node.below.get(state) ?? 0) + n);
    node.size += child.size;
    node.flapping += child.flapping + child.isFlapping;
  }
  node.below = worstFirst(node.below);
}

/** The nodes above a node, its parent first. */
export function* above(node) {
  for (let up = node.parent; up; up = up.parent) yield up;
}

/** The nodes below a node, each before its own. */
export function* descendants(node) {
  for (const child of node.children) {
    yield child;
    yield* descendants(child);
  }
}

/** "Research / Data / Crawler": the names from the top level down to a node. */
export const pathOf = (node) => [node, ...above(node)].map(({ workspace }) => workspace.name).reverse().join(" / ");

/** The state whose colour stands for a node and everything below it. */
export const paintedStateOf = (node) => (node.isDimmed ? DIMMED : worstOf(node));

/** The worst state of a node and of everything below it. */
function worstOf({ state, below }) {
  return worstFirst(new Map([...below, [state, 1]])).keys().next().value;
}
