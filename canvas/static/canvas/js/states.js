// The state of a workspace: its word, its rank, and what needs somebody. Pure.

import { age } from "../../ui/time.js";

/** Worst first. */
export const STATES = ["failed", "offline", "degraded", "enrolment-expired", "provisioning", "paused", "online"];
/** Counted like a state, beside the state that the workspace has as well. */
export const FLAPPING = "flapping";
const LABELS = { provisioning: "awaiting agent", "enrolment-expired": "enrolment expired" };
/** As in registry/organisation/attention.py, as far as a row of the list tells. */
const NEEDS_SOMEBODY = new Set(["failed", "offline", "degraded", "enrolment-expired"]);

/** "awaiting agent" for "provisioning"; most states are their own label. */
export const stateLabel = (state) => LABELS[state] ?? state;

/** Whether the card must stand out. Somebody has already seen to what is paused. */
export function needsSomebody({ workspace, state, isFlapping }) {
  if (state === "paused") return false;
  return NEEDS_SOMEBODY.has(state) || isFlapping || Boolean(workspace.last_refusal);
}

/** Why a workspace is in its state, for people; "" where nothing is known or nothing is wrong. */
export function reasonOf({ workspace, state }, now) {
  return REASONS[state]?.(workspace, now) ?? "";
}

const REASONS = {
  failed: ({ failure }) => failure ?? "",
  degraded: ({ last_sample_error, last_error_rate }) =>
    last_sample_error || (last_error_rate ? `${Math.round(last_error_rate * 100)}% errors` : ""),
  offline: ({ last_heartbeat_at: at }, now) => (at ? `Last heartbeat ${age(now - Date.parse(at))}` : ""),
  "enrolment-expired": () => "Its agent has not registered in time",
};

/** "Refused 12 times: token revoked, from 10.0.0.1, 2 min ago" */
export function refusalText({ at, count, reason, address }, now) {
  const times = count === 1 ? "once" : `${count} times`;
  const details = [reason, address && `from ${address}`, age(now - Date.parse(at))].filter(Boolean);
  return `Refused ${times}: ${details.join(", ")}`;
}

const rank = (state) => (STATES.includes(state) ? STATES.indexOf(state) : STATES.length);

/** @param {Map<string, number>} counts @returns {Map<string, number>} those above zero */
export function worstFirst(counts) {
  return new Map([...counts].filter(([, n]) => n > 0).sort(byRank));
}

const byRank = ([a], [b]) => rank(a) - rank(b);

/**
 * Worst first. @param {Iterable<Node>} nodes a flapping one counts under its state as well
 * @param {string[]} kept states that are there even if they count none
 */
export function countStates(nodes, kept = []) {
  const counts = new Map(kept.map((state) => [state, 0]));
  const add = (state) => counts.set(state, (counts.get(state) ?? 0) + 1);
  for (const { state, isFlapping } of nodes) {
    add(state);
    if (isFlapping) add(FLAPPING);
  }
  return new Map([...counts].sort(byRank));
}

/** When the clock alone changes the state of a workspace: flapping or an enrolment ends. Infinity for never. */
export function stateChangeOf({ flapping_until, status, enrolment_expires_at }, now) {
  const ends = [flapping_until, status === "provisioning" && enrolment_expires_at].map((end) => Date.parse(end || ""));
  return Math.min(Infinity, ...ends.filter((at) => at > now));
}
