// The state of the page, in one reducer. Pure: no DOM, no network, no clock.

/**
 * @typedef {Object} Workspace one row of GET /workspaces
 * @typedef {{event: string, workspace_id: string|null, timestamp: string, seq: number|null, id: string|null, payload: any}} Envelope
 *
 * @typedef {Object} State
 * @property {"loading"|"ready"|"error"|"signed-out"|"forbidden"} phase
 * @property {string|null} failure why the workspaces could not be loaded
 * @property {{status: "connecting"|"live"|"reconnecting"|"offline", retryAt: number|null}} connection
 * @property {number} seq `workspaces` includes every event up to this one, with the id `eventId`
 * @property {Map<string, Workspace>} workspaces by created_at
 * @property {Set<string>} removed ids that a load in flight must not bring back
 * @property {Map<string, object>} local layout changes by id, not confirmed by the server
 * @property {Envelope[]|null} buffered events that arrive while a load is in flight; null otherwise
 * @property {number|null} updatedAt when the last message or load arrived
 */

export function initialState() {
  return {
    phase: "loading",
    failure: null,
    connection: { status: "connecting", retryAt: null },
    seq: 0,
    eventId: "",
    workspaces: new Map(),
    removed: new Set(),
    local: new Map(),
    buffered: null,
    updatedAt: null,
  };
}

export function reduce(state, action) {
  return ACTIONS[action.type](state, action);
}

export function createStore() {
  let state = initialState();
  const listeners = new Set();
  return {
    get state() {
      return state;
    },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      for (const listener of listeners) listener(state);
    },
    subscribe(listener) {
      listeners.add(listener);
    },
  };
}

export function currentWorkspaces({ workspaces, local }) {
  const current = new Map(workspaces);
  for (const [id, changes] of local) {
    if (current.has(id)) current.set(id, { ...current.get(id), ...changes });
  }
  return current;
}

const ACTIONS = {
  /** A load starts. Events are buffered until its answer arrives, because the answer may be older than they are. */
  load: (state) => ({ ...state, buffered: [] }),
  snapshot: loaded,
  failed: (state, { phase, message }) => ({
    ...state,
    buffered: null,
    failure: message,
    phase: phase !== "error" || state.phase !== "ready" ? phase : "ready",
  }),
  event: (state, { event, at }) => ({ ...received(state, event), updatedAt: at }),
  connection: (state, { status, retryAt = null }) => ({ ...state, connection: { status, retryAt } }),
  alive: (state, { at }) => ({ ...state, updatedAt: at }),
  /** Shows a layout change until `saved`. */
  change: (state, { id, changes }) => ({
    ...state,
    local: new Map(state.local).set(id, { ...state.local.get(id), ...changes }),
  }),
  saved,
};

function loaded(state, { seq, eventId, workspaces, at }) {
  const active = workspaces.filter((workspace) => !state.removed.has(workspace.id));
  const base = {
    ...state,
    phase: "ready",
    failure: null,
    seq,
    eventId,
    workspaces: new Map(active.map((workspace) => [workspace.id, withFailure(workspace, state)])),
    buffered: null,
    updatedAt: at,
  };
  return (state.buffered ?? []).reduce(applied, base);
}

/** Keeps the reason of a failure, which is in the event and not in a load. */
function withFailure(workspace, { workspaces }) {
  const failure = workspace.status === "failed" && workspaces.get(workspace.id)?.failure;
  return failure ? { ...workspace, failure } : workspace;
}

function received(state, event) {
  const next = applied(state, event);
  return state.buffered ? { ...next, buffered: [...state.buffered, event] } : next;
}

/** The server accepted a change (`kept`) or refused it. A newer local change of the same field stays. */
function saved(state, { id, changes, kept }) {
  const pending = { ...state.local.get(id) };
  const done = {};
  for (const [field, value] of Object.entries(changes)) {
    if (pending[field] !== value) continue;
    done[field] = value;
    delete pending[field];
  }
  const local = new Map(state.local);
  if (Object.keys(pending).length) local.set(id, pending);
  else local.delete(id);
  const workspace = state.workspaces.get(id);
  const workspaces =
    kept && workspace ? new Map(state.workspaces).set(id, { ...workspace, ...done }) : state.workspaces;
  return { ...state, local, workspaces };
}

function applied(state, event) {
  if (event.seq !== null && event.seq <= state.seq) return state;
  const next = event.seq === null ? { ...state } : { ...state, seq: event.seq, eventId: event.id ?? "" };
  const id = event.workspace_id;
  if (event.event === "WORKSPACE_REMOVED") {
    next.removed = new Set(state.removed).add(id);
    next.workspaces = new Map(state.workspaces);
    next.workspaces.delete(id);
    return next;
  }
  const workspace = changed(state, event);
  if (workspace) next.workspaces = new Map(state.workspaces).set(id, workspace);
  return next;
}

/** The workspace after the event; null when the event changes none of those shown. */
function changed({ workspaces, removed }, event) {
  const before = workspaces.get(event.workspace_id);
  const change = Object.hasOwn(CHANGES, event.event) ? CHANGES[event.event] : null;
  if (!change || removed.has(event.workspace_id)) return null;
  if (!before) return isCreation(event) ? created(event) : null;
  const fields = change(event.payload, before, event.timestamp);
  if (!fields) return null;
  return { ...before, ...fields, ...(event.seq === null ? {} : { updated_at: event.timestamp }) };
}

const isCreation = ({ event, payload }) => event === "WORKSPACE_PROVISIONING" && !("from" in payload);

function created({ workspace_id, timestamp, payload }) {
  return {
    agent_card: null,
    url: "",
    forwarded_to: null,
    source_bundle_id: null,
    active_tasks: 0,
    last_error_rate: 0,
    last_sample_error: "",
    uptime_seconds: 0,
    current_task: "",
    last_heartbeat_at: null,
    flapping_until: null,
    last_refusal: null,
    enrolment_expires_at: null,
    x: 0,
    y: 0,
    collapsed: false,
    ...payload,
    id: workspace_id,
    status: "provisioning",
    created_at: timestamp,
    updated_at: timestamp,
  };
}

const EDITABLE = ["name", "role", "tier", "runtime", "url", "agent_card", "forwarded_to"];

// (payload, workspace before, timestamp) → the fields that the event sets, or null for none.
// Events about agents and teams set no field of a workspace.
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
  AGENT_CARD_UPDATED: ({ agent_card }) => ({ agent_card }),
  LAYOUT_UPDATED: (payload) => only(payload, ["x", "y", "collapsed"]),
  TASK_UPDATED: (payload, before, timestamp) =>
    isOlder(timestamp, before) ? null : only(payload, ["current_task", "active_tasks"]),
  WORKSPACE_REFUSED: ({ last_refusal }) => ({ last_refusal }),
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
