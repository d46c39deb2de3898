// The state of the page: one pure reducer. Nothing here knows of the DOM, the network or the clock.

/**
 * @typedef {Object} Workspace as GET /workspaces answers it
 * @typedef {{event: string, workspace_id: string|null, timestamp: string, seq: number|null, payload: any}} Envelope
 *
 * @typedef {Object} State
 * @property {"loading"|"ready"|"error"|"signed-out"|"forbidden"} phase
 * @property {string|null} failure why the picture could not be loaded
 * @property {{status: "connecting"|"live"|"reconnecting"|"offline", retryAt: number|null}} connection
 * @property {number} seq every event up to here is in `workspaces`
 * @property {Map<string, Workspace>} workspaces by created_at
 * @property {Set<string>} removed removal is for good, so these never come back
 * @property {Map<string, object>} local {x, y} or {collapsed} that the server has not confirmed
 * @property {Envelope[]|null} heard what arrived while a load is in flight, null while none is
 * @property {number|null} updatedAt when the server was last heard of
 */

/** @returns {State} */
export function initialState() {
  return {
    phase: "loading",
    failure: null,
    connection: { status: "connecting", retryAt: null },
    seq: 0,
    workspaces: new Map(),
    removed: new Set(),
    local: new Map(),
    heard: null,
    updatedAt: null,
  };
}

/** @returns {State} */
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

/** Workspaces as this person sees them: with what they have just changed. */
export function currentWorkspaces({ workspaces, local }) {
  const seen = new Map(workspaces);
  for (const [id, changes] of local) {
    if (seen.has(id)) seen.set(id, { ...seen.get(id), ...changes });
  }
  return seen;
}

const ACTIONS = {
  /** Another attempt to load begins: events are kept until its answer, which may be older than they are. */
  load: (state) => ({ ...state, heard: [] }),
  snapshot: loaded,
  failed: (state, { phase, message }) => ({
    ...state,
    heard: null,
    failure: message,
    phase: phase !== "error" || state.phase !== "ready" ? phase : "ready",
  }),
  event: (state, { event, at }) => ({ ...heard(state, event), updatedAt: at }),
  connection: (state, { status, retryAt = null }) => ({ ...state, connection: { status, retryAt } }),
  alive: (state, { at }) => ({ ...state, updatedAt: at }),
  /** An optimistic change; `settled` ends it. */
  change: (state, { id, changes }) => ({
    ...state,
    local: new Map(state.local).set(id, { ...state.local.get(id), ...changes }),
  }),
  settled,
};

function loaded(state, { seq, workspaces, at }) {
  const active = workspaces.filter((workspace) => !state.removed.has(workspace.id));
  const base = {
    ...state,
    phase: "ready",
    failure: null,
    seq,
    workspaces: new Map(active.map((workspace) => [workspace.id, withFailure(workspace, state)])),
    heard: null,
    updatedAt: at,
  };
  return (state.heard ?? []).reduce(applied, base);
}

/** Only the event says why a workspace failed: a load must not forget it. */
function withFailure(workspace, { workspaces }) {
  const failure = workspace.status === "failed" && workspaces.get(workspace.id)?.failure;
  return failure ? { ...workspace, failure } : workspace;
}

function heard(state, event) {
  const next = applied(state, event);
  return state.heard ? { ...next, heard: [...state.heard, event] } : next;
}

/** What the server did with a change: `kept`, or refused and undone. A newer local change outlives both. */
function settled(state, { id, changes, kept }) {
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

/** @param {State} state @param {Envelope} event */
function applied(state, event) {
  if (event.seq !== null && event.seq <= state.seq) return state;
  const next = { ...state, seq: event.seq ?? state.seq };
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

/** The workspace after the event; nothing when the event is not about one that we show. */
function changed({ workspaces, removed }, event) {
  const before = workspaces.get(event.workspace_id);
  const change = Object.hasOwn(CHANGES, event.event) ? CHANGES[event.event] : null;
  if (!change || removed.has(event.workspace_id)) return null;
  if (!before) return isCreation(event) ? created(event) : null;
  const columns = change(event.payload, before, event.timestamp);
  if (!columns) return null;
  return { ...before, ...columns, ...(event.seq === null ? {} : { updated_at: event.timestamp }) };
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

// Events about agents and teams change no column of a workspace, so they are not here.
// What each event sets: (payload, workspace before, timestamp) → columns, or null for nothing.
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
  HEARTBEAT: (payload, before, timestamp) => (isOlder(timestamp, before) ? null : beaten(payload, before, timestamp)),
};

/** A degraded workspace keeps its sample error until it recovers, as on the server. */
function beaten(payload, before, timestamp) {
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
