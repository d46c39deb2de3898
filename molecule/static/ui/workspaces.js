// What an event of /ws changes of a workspace, and the state that a workspace is in. Pure; the canvas and the admin use it.

/**
 * @param {{event: string, payload: any, timestamp: string}} event @param {object} before the workspace before it
 * @returns {object|null} the fields that the event sets; null for none
 */
export function fieldsAfter({ event, payload, timestamp }, before) {
  return Object.hasOwn(CHANGES, event) ? CHANGES[event](payload, before, timestamp) : null;
}

/** The status, or "enrolment-expired" for a workspace whose agent can no longer register. */
export function stateOf({ status, enrolment_expires_at }, now) {
  return status === "provisioning" && Date.parse(enrolment_expires_at ?? "") <= now ? "enrolment-expired" : status;
}

export const isFlapping = ({ flapping_until }, now) => Date.parse(flapping_until ?? "") > now;

const EDITABLE = ["name", "role", "tier", "runtime", "url", "agent_card", "forwarded_to"];

// (payload, workspace before, timestamp) → the fields that the event sets, or null for none.
// Events about teams set no field of a workspace.
const CHANGES = {
  WORKSPACE_PROVISIONING: () => ({ status: "provisioning" }),
  WORKSPACE_ONLINE: (payload) => ({ status: "online", ...only(payload, ["url", "agent_card"]) }),
  WORKSPACE_OFFLINE: (payload, before) => ({
    status: "offline",
    last_heartbeat_at: payload.last_heartbeat_at ?? before.last_heartbeat_at,
    ...only(payload, ["flapping_until"]),
  }),
  WORKSPACE_DEGRADED: (payload) => ({
    status: "degraded",
    last_error_rate: payload.error_rate,
    last_sample_error: payload.sample_error,
  }),
  WORKSPACE_PROVISION_FAILED: ({ error }) => ({ status: "failed", failure: error ?? "" }),
  WORKSPACE_PAUSED: () => ({ status: "paused" }),
  WORKSPACE_UPDATED: ({ changes }) =>
    Object.fromEntries(EDITABLE.filter((field) => field in changes).map((field) => [field, changes[field][1]])),
  WORKSPACE_MOVED: ({ new_parent_id }) => ({ parent_id: new_parent_id }),
  AGENT_ASSIGNED: ({ model }) => ({ model }),
  AGENT_REPLACED: ({ new_model: model }) => ({ model }),
  AGENT_REMOVED: () => ({ model: "" }),
  AGENT_MOVED: ({ model, to_workspace_id }, { id }) => ({ model: to_workspace_id === id ? model : "" }),
  AGENT_CARD_UPDATED: ({ agent_card }) => ({ agent_card }),
  LAYOUT_UPDATED: (payload) => only(payload, ["x", "y", "collapsed"]),
  TASK_UPDATED: (payload, before, timestamp) =>
    isOlder(timestamp, before) ? null : only(payload, ["current_task", "active_tasks"]),
  WORKSPACE_REFUSED: ({ last_refusal }) => ({ last_refusal }),
  DEPLOYMENT_UPDATED: ({ deployment }) => ({ deployment }),
  ENROLMENT_UPDATED: ({ enrolment_expires_at }) => ({ enrolment_expires_at }),
  HEARTBEAT: (payload, before, timestamp) => (isOlder(timestamp, before) ? null : afterHeartbeat(payload, before, timestamp)),
};

/** As on the server, a degraded workspace keeps its sample error until it recovers. */
function afterHeartbeat(payload, before, timestamp) {
  const kept = before.status === "degraded" ? before.last_sample_error : "";
  return {
    ...only(payload, ["active_tasks", "last_error_rate", "uptime_seconds"]),
    last_sample_error: payload.last_sample_error || kept,
    last_heartbeat_at: timestamp,
  };
}

const isOlder = (timestamp, { last_heartbeat_at }) =>
  last_heartbeat_at !== null && Date.parse(timestamp) < Date.parse(last_heartbeat_at);

const only = (values, names) =>
  Object.fromEntries(names.filter((name) => name in values).map((name) => [name, values[name]]));
