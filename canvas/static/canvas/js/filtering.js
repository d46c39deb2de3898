// The filter: what stands out, what is dimmed, and how an address says so. Pure. The names are those of GET /workspaces.

import { skillsOf } from "./names.js";
import { FLAPPING, STATES } from "./states.js";
import { above } from "./tree.js";

/**
 * @typedef {Object} Filter texts; "" is no condition, and a workspace must meet all others
 * @property {string} status states with commas between them, one of which it must have; see FLAPPING
 * @property {string} tier
 * @property {string} runtime UNKNOWN for those without one
 * @property {string} team the id of a lead: everything below it
 * @property {string} q words
 * @property {string} attention "1": what needs somebody, as far as a card tells
 * @property {string} stale "1": without a heartbeat for STALE_MS, where heartbeats are expected
 */

/** @type {Filter} */
export const NO_FILTER = { status: "", tier: "", runtime: "", team: "", q: "", attention: "", stale: "" };
export const UNKNOWN = "unknown";
const STALE_MS = 5 * 60_000;
const BEATING = ["online", "degraded", "offline"];
const ID_START = /^[0-9a-f]{6,32}$/;
const LONGEST = 200;

const flag = (text) => (text === "1" ? "1" : "");
const READERS = {
  status: (text) => [...STATES, FLAPPING].filter((state) => text.split(",").includes(state)).join(),
  tier: (text) => (/^[1-4]$/.test(text) ? text : ""),
  runtime: (text) => text.slice(0, LONGEST),
  team: (text) => (/^[0-9a-f-]{36}$/i.test(text) ? text.toLowerCase() : ""),
  q: (text) => text.trim().slice(0, LONGEST),
  attention: flag,
  stale: flag,
};

/** The filter of an address; what it does not know is no condition. @param {URLSearchParams} query @returns {Filter} */
export const filterOf = (query) =>
  Object.fromEntries(Object.entries(READERS).map(([name, read]) => [name, read(query.getAll(name).join())]));

/** The query with this filter; whatever else it says stays. @param {URLSearchParams} query */
export function withFilter(query, filter) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(filter)) {
    next.delete(name);
    for (const one of name === "status" ? value.split(",") : [value]) if (one) next.append(name, one);
  }
  return next;
}

/** The filter with one more state, or without it. */
export function toggled(filter, state) {
  const states = filter.status.split(",").filter(Boolean);
  const next = states.includes(state) ? states.filter((other) => other !== state) : [...states, state];
  return { ...filter, status: READERS.status(next.join()) };
}

/** How many conditions it has. */
export const sizeOf = (filter) => Object.values(filter).filter(Boolean).length;

const CONDITIONS = {
  status: ({ state, isFlapping }, wanted) => wanted.split(",").some((one) => one === state || (one === FLAPPING && isFlapping)),
  tier: ({ workspace }, tier) => String(workspace.tier) === tier,
  runtime: ({ workspace }, runtime) => (workspace.runtime || UNKNOWN) === runtime,
  team: (node, id) => [...above(node)].some((lead) => lead.id === id),
  q: ({ workspace }, text) => fits(workspace, text),
  attention: ({ needs }) => needs,
  stale: isStale,
};

/** Whether every word is in its name, its role or one of its skills, or begins its id. */
export function fits({ id, name, role, agent_card }, text) {
  const all = [name, role, ...skillsOf(agent_card)].join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => all.includes(word) || begins(id, word.replaceAll("-", "")));
}

const begins = (id, digits) => ID_START.test(digits) && id.replaceAll("-", "").startsWith(digits);

/** The past has no heartbeats: there it is what was offline. */
function isStale({ workspace, state }, wanted, now) {
  const { last_heartbeat_at: beat, updated_at: since, active_tasks } = workspace;
  if (active_tasks === null) return state === "offline";
  return BEATING.includes(state) && now - Date.parse(beat ?? since) > STALE_MS;
}

/**
 * Dims the nodes that do not match; those that lead to one that does are not dimmed, but `isOnWay`.
 * @param {Map<string, Node>} nodes @returns {Node[]|null} those that match; null without a filter
 */
export function sift(nodes, filter, now) {
  const conditions = Object.entries(filter).filter(([, value]) => value);
  for (const node of nodes.values()) Object.assign(node, { isDimmed: conditions.length > 0, isOnWay: false });
  if (!conditions.length) return null;
  const matching = [...nodes.values()].filter((node) => conditions.every(([name, value]) => CONDITIONS[name](node, value, now)));
  for (const node of matching) node.isDimmed = false;
  for (const { parent } of matching) {
    for (let up = parent; up?.isDimmed; up = up.parent) Object.assign(up, { isDimmed: false, isOnWay: true });
  }
  return matching;
}
