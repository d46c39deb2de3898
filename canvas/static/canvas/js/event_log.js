// The loaded part of the event log, names and views at one event, a cache, and replaceable tasks. Pure.

import { changeOf } from "./event_summaries.js";

/** @typedef {import("./event_summaries.js").EventRow} EventRow */
/** @typedef {{events: EventRow[], hasOlder: boolean, hasNewer: boolean}} Log consecutive events, by seq */

export const emptyLog = () => ({ events: [], hasOlder: false, hasNewer: false });

/** @typedef {{rows: EventRow[], more: boolean}} Page of GET /events; `more`: the log goes on after it */

/** @param {Log} log @param {Page} page newest first, as with `before` */
export function withOlder(log, { rows, more }) {
  const first = log.events[0]?.seq ?? Infinity;
  const older = rows.filter(({ seq }) => seq < first).map(slim);
  return { ...log, events: [...older.reverse(), ...log.events], hasOlder: more };
}

/** @param {Log} log @param {Page} page oldest first, as with `after` */
export function withNewer(log, { rows, more }) {
  const last = log.events.at(-1)?.seq ?? 0;
  const newer = rows.filter(({ seq }) => seq > last).map(slim);
  return { ...log, events: [...log.events, ...newer], hasNewer: more };
}

/** Without agent cards, which may have 64 KiB and appear in no summary. @param {EventRow} event */
function slim({ seq, event_type, workspace_id, actor, created_at, payload }) {
  const { agent_card: _new, old_agent_card: _old, ...rest } = payload ?? {};
  const { agent_card, ...changes } = rest.changes ?? {};
  if (agent_card) rest.changes = { ...changes, agent_card: [{}, {}] };
  return { seq, event_type, workspace_id, actor, created_at, payload: rest };
}

/** The index of the last event at or before `seq`; -1 when it is not loaded. */
export function positionOf({ events }, seq) {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The position after a step. Position null is the present, after the newest event.
 * @param {Log} log @param {number|null} position
 * @returns {{position: number|null, wants: "older"|"newer"|null}} `wants`: the page to load before stepping again
 */
export function stepped({ events, hasOlder, hasNewer }, position, by) {
  const size = events.length;
  const target = (position ?? size) + by;
  if (target < 0) return { position: size ? 0 : null, wants: hasOlder ? "older" : null };
  if (target >= size) return { position: null, wants: hasNewer && position !== null ? "newer" : null };
  return { position: target, wants: null };
}

/** Names of workspaces at each event, as far as the loaded events say. @returns {(id: string, seq: number) => string|undefined} */
export function nameHistory(events) {
  const book = new Map();
  const note = (id, seq, name) => book.set(id, [...(book.get(id) ?? []), { seq, name }]);
  for (const { event_type, workspace_id: id, seq, payload } of events) {
    const renamed = event_type === "WORKSPACE_UPDATED" && payload.changes?.name;
    const [old, now] = renamed || [payload.name, payload.name];
    if (!now) continue;
    if (!book.has(id)) note(id, 0, old);
    if (renamed) note(id, seq, now);
  }
  return (id, seq) => book.get(id)?.findLast((entry) => entry.seq <= seq)?.name;
}

/** @typedef {{seq: number, at: string, event: EventRow|null, workspaces: Map<string, object>}} PastView */

/**
 * The organisation just after an event. The changed workspace is marked; a removed one is included as `removed`.
 * @param {{seq: number, at: string, workspaces: object[]}} snapshot
 * @param {EventRow} event @param {{workspaces: object[]}|null} before the snapshot before a removal; else null
 * @param {Map<string, object>} active workspaces now, for their places and folds
 * @returns {PastView}
 */
export function pastView(snapshot, event, before, active) {
  const workspaces = new Map(snapshot.workspaces.map((row) => [row.id, row]));
  const gone = before?.workspaces.find(({ id }) => id === event.workspace_id);
  if (gone && !workspaces.has(gone.id)) workspaces.set(gone.id, { ...gone, status: "removed" });
  for (const [id, row] of workspaces) {
    const { x, y, collapsed } = active.get(id) ?? row;
    const change = id === event.workspace_id ? changeOf(event) : null;
    const failure = change && event.event_type === "WORKSPACE_PROVISION_FAILED" ? event.payload.error : null;
    workspaces.set(id, { ...row, x, y, collapsed, change, failure });
  }
  return { seq: event.seq, at: event.created_at, event, workspaces };
}

/** Drops the least recently used entry when it is full. */
export class LruCache {
  #entries = new Map();

  constructor(size) {
    this.size = size;
  }

  get(key) {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key, value) {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > this.size) this.#entries.delete(this.#entries.keys().next().value);
  }
}
