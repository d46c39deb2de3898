// What can be done with a workspace: the entries of its menu, whom a verb affects, and what is said about it. Pure.

import { descendants, pathOf } from "./tree.js";

/**
 * @typedef {Object} Verb see registry/organisation/verbs.py
 * @typedef {{name: string, label: string, isDestructive?: boolean}} Entry
 */

/** The workspaces that a verb would change. @param {Verb} verb @param {Node} node @returns {Node[]} */
export function affectedBy(verb, node) {
  // Nothing says yet that Molecule runs an agent.
  const applies = ({ workspace }) => !verb.only_run_here && verb.statuses.includes(workspace.status);
  const team = verb.includes_team ? [...descendants(node)] : [];
  return applies(node) ? [...(verb.includes_root ? [node] : []), ...team].filter(applies) : [];
}

/** Whether somebody is asked first: a leaf is paused, resumed or restarted at once. */
export const mustAsk = (verb, affected) => verb.destructive || verb.name === "move" || affected.length > 1;

const COPIES = [
  { name: "duplicate", label: "Duplicate…" },
  { name: "export", label: "Export bundle" },
];

/** @param {Verb[]} verbs none for who may only look, and in the past @returns {Entry[]} */
export function entriesFor(node, verbs) {
  const entries = [{ name: "open", label: "Open" }];
  if (node.children.length) entries.push({ name: "fold", label: node.isFolded ? "Expand" : "Collapse" });
  if (verbs.length) entries.push({ name: "add", label: "Add member…" });
  for (const verb of verbs) {
    const affected = affectedBy(verb, node);
    const label = (verb.menu || verb.title) + (mustAsk(verb, affected) ? "…" : "");
    if (affected.length) entries.push({ name: verb.name, label, isDestructive: verb.destructive });
  }
  if (verbs.length) entries.splice(entries.findIndex(({ isDestructive }) => isDestructive), 0, ...COPIES);
  return entries;
}

/** "Remove", also of "Remove team". */
export const wordOf = ({ title }) => title.split(" ")[0];

/** "Remove Research and 12 in its team". @param {string} word the verb, or what has been done */
export function sentence(word, verb, { workspace: { name } }, count) {
  if (!verb.includes_root) return `${word} the ${count} in the team of ${name}`;
  return `${word} ${name}` + (count > 1 ? ` and ${count - 1} in its team` : "");
}

/** How many the server says were changed; `expected` where it does not say. */
export const countIn = ({ paused_count, resumed_count, cascade_deleted }, expected) =>
  (paused_count ?? resumed_count ?? cascade_deleted + 1) || expected;

/**
 * Where a workspace can be moved: the top level and every workspace, but not where it is, and not into its own team.
 * @param {Iterable<Node>} nodes @returns {{label: string, node: Node|null}[]}
 */
export function targetsFor(node, nodes) {
  const refused = new Set([node, node.parent, ...descendants(node)]);
  const allowed = [...nodes].filter((one) => !refused.has(one)).map((one) => ({ label: pathOf(one), node: one }));
  allowed.sort((one, other) => one.label.localeCompare(other.label));
  return [...(node.parent ? [{ label: "Top level", node: null }] : []), ...allowed];
}

/** The entry that a letter goes to, after the present one. @param {string[]} labels @returns {number} -1 for none */
export function typedAhead(labels, letter, present) {
  const order = labels.map((_, n) => (present + 1 + n) % labels.length);
  return order.find((n) => labels[n].toLowerCase().startsWith(letter.toLowerCase())) ?? -1;
}
