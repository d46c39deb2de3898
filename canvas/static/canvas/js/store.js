// The state of the page, in one reducer. Pure: no DOM, no network, no clock.

import { NO_FILTER } from "./filtering.js";
import { autoLevel, noFolding, withFold, withLevel } from "./folding.js";
import { fieldsAfter } from "../../ui/workspaces.js";

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
 * @property {string|null} selected the id of the selected workspace
 * @property {Filter} filter see filtering.js
 * @property {Folding} folding of the present
 * @property {Folding|null} pastFolding of the past, while it is shown
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
    selected: null,
    filter: NO_FILTER,
    folding: noFolding(),
    pastFolding: null,
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

/** The folding of what is shown: the past has its own, which ends with it. */
export const currentFolding = ({ folding, pastFolding }) => pastFolding ?? folding;

export function currentWorkspaces({ workspaces, local }) {
  if (!local.size) return workspaces;
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
  /** What arrived since the last time: one action for many events, because each copies the map of all workspaces. */
  events: (state, { events, at }) => ({ ...received(state, events), updatedAt: at }),
  connection: (state, { status, retryAt = null }) => ({ ...state, connection: { status, retryAt } }),
  alive: (state, { at }) => ({ ...state, updatedAt: at }),
  /** Shows a layout change until `saved`. */
  change: (state, { id, changes }) => ({
    ...state,
    local: new Map(state.local).set(id, { ...state.local.get(id), ...changes }),
  }),
  saved,
  select: (state, { id }) => (id === state.selected ? state : { ...state, selected: id }),
  filter: (state, { filter }) => ({ ...state, filter }),
  /** Folds a team or opens it, on this page only. */
  fold: (state, { id, isFolded }) => refolded(state, (folding) => withFold(folding, id, isFolded)),
  /** @see Folding.level */
  level: (state, { level }) => refolded(state, (folding) => withLevel(folding, level)),
  remember: (state, { folding }) => ({ ...state, folding: { ...folding, auto: state.folding.auto } }),
  /** The past begins with the folds of the present. `workspaces`: those that are shown, null for the present. */
  past: (state, { workspaces }) => ({
    ...state,
    pastFolding: workspaces && (state.pastFolding ?? { ...state.folding, auto: autoLevel(workspaces) }),
  }),
};

function refolded(state, change) {
  const name = state.pastFolding ? "pastFolding" : "folding";
  return { ...state, [name]: change(state[name]) };
}

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
  const next = replayed(base, state.buffered ?? []);
  const auto = autoLevel(next.workspaces);
  return auto === next.folding.auto ? next : { ...next, folding: { ...next.folding, auto } };
}

/** Keeps the reason of a failure, which is in the event and not in a load. */
function withFailure(workspace, { workspaces }) {
  const failure = workspace.status === "failed" && workspaces.get(workspace.id)?.failure;
  return failure ? { ...workspace, failure } : workspace;
}

function received(state, events) {
  const next = replayed(state, events);
  return state.buffered ? { ...next, buffered: [...state.buffered, ...events] } : next;
}

/** The state after events. Its maps are copied once, however many events there are. */
function replayed(state, events) {
  const next = { ...state, workspaces: new Map(state.workspaces), removed: new Set(state.removed) };
  let isChanged = false;
  for (const event of events) isChanged = apply(next, event) || isChanged;
  return isChanged ? next : { ...next, workspaces: state.workspaces, removed: state.removed };
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

/** Applies an event to a state that has not been published yet. @returns {boolean} whether it changed a workspace */
function apply(next, event) {
  if (event.seq !== null && event.seq <= next.seq) return false;
  if (event.seq !== null) Object.assign(next, { seq: event.seq, eventId: event.id ?? "" });
  const id = event.workspace_id;
  if (event.event === "WORKSPACE_REMOVED") {
    next.removed.add(id);
    next.workspaces.delete(id);
    return true;
  }
  const workspace = changed(next, event);
  if (workspace) next.workspaces.set(id, workspace);
  return workspace !== null;
}

/** The workspace after the event; null when the event changes none of those shown. */
function changed({ workspaces, removed }, event) {
  const before = workspaces.get(event.workspace_id);
  if (removed.has(event.workspace_id)) return null;
  if (!before) return isCreation(event) ? created(event) : null;
  const fields = fieldsAfter(event, before);
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
    model: "",
    last_heartbeat_at: null,
    flapping_until: null,
    last_refusal: null,
    enrolment_expires_at: null,
    deployment: null,
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
