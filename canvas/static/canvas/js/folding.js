// Which teams are folded: by level, and by hand. Pure; this browser remembers it.

/** With more cards than this, teams are folded by level at first. */
const MOST_CARDS = 1500;

/**
 * @typedef {Object} Folding
 * @property {number|null} level teams at this depth and below are folded; null: chosen by the number of workspaces
 * @property {Map<string, boolean>} byHand by id of the lead: folded or open, whatever the level
 * @property {number} auto the level where none is chosen
 */

/** @returns {Folding} */
export const noFolding = () => ({ level: null, byHand: new Map(), auto: Infinity });

/** @param {Node} node a team */
export function isFolded({ id, depth, workspace }, { level, byHand, auto }) {
  return byHand.get(id) ?? (Boolean(workspace.collapsed) || depth >= (level ?? auto));
}

export const withFold = (folding, id, isFolded) => ({ ...folding, byHand: new Map(folding.byHand).set(id, isFolded) });

/** A chosen level is for all teams. */
export const withLevel = (folding, level) => ({ ...folding, level, byHand: new Map() });

/** The deepest level at which an organisation is still usable. @param {Map<string, object>} workspaces */
export function autoLevel(workspaces) {
  if (workspaces.size <= MOST_CARDS) return Infinity;
  const sizes = [];
  const depths = new Map();
  for (const id of workspaces.keys()) {
    const depth = depthOf(id, workspaces, depths);
    sizes[depth] = (sizes[depth] ?? 0) + 1;
  }
  let cards = 0;
  return Math.max(0, sizes.findIndex((size) => (cards += size) > MOST_CARDS) - 1);
}

function depthOf(id, workspaces, depths) {
  if (depths.has(id)) return depths.get(id);
  const { parent_id: parent } = workspaces.get(id);
  const depth = workspaces.has(parent) ? depthOf(parent, workspaces, depths) + 1 : 0;
  depths.set(id, depth);
  return depth;
}

/** @returns {string} for remembered() */
export function packed({ level, byHand }) {
  return JSON.stringify({ level, folded: idsOf(byHand, true), open: idsOf(byHand, false) });
}

/** @param {string|null} text what this browser has stored, by any version of this page @returns {Folding} */
export function remembered(text) {
  const folding = noFolding();
  try {
    const { level, folded, open } = JSON.parse(text) ?? {};
    if (Number.isInteger(level)) folding.level = level;
    for (const id of folded ?? []) folding.byHand.set(id, true);
    for (const id of open ?? []) folding.byHand.set(id, false);
  } catch {
    return noFolding();
  }
  return folding;
}

const idsOf = (byHand, wanted) => [...byHand].filter(([, is]) => is === wanted).map(([id]) => id);
