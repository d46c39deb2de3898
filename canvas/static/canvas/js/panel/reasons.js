// Since when and why a workspace is in its state, from the event that began it. Pure.

import { actorLabel } from "../event_summaries.js";
import { reasonOf } from "../states.js";

/** The events that may begin a state. */
export const BEGINNINGS = [
  "WORKSPACE_PROVISIONING",
  "WORKSPACE_ONLINE",
  "WORKSPACE_OFFLINE",
  "WORKSPACE_DEGRADED",
  "WORKSPACE_PROVISION_FAILED",
  "WORKSPACE_PAUSED",
  "WORKSPACE_REMOVED",
];

/** The event that began the state. @param {EventRow[]} events of these types, the newest first */
export function beginningOf(events) {
  return events.find(({ event_type, payload }) => event_type !== "WORKSPACE_ONLINE" || payload?.from !== "online") ?? null;
}

/** @param {Node} node @param {EventRow|null} beginning @param {number} now */
export function whyOf(node, beginning, now) {
  const { payload = {}, actor } = beginning ?? {};
  if (["paused", "removed"].includes(node.state)) return actor ? `by ${actorLabel(actor)}` : "";
  if (node.state === "failed") return payload.error || payload.reason || reasonOf(node, now);
  if (node.state === "offline" && payload.reason) return payload.reason;
  return reasonOf(node, now);
}
