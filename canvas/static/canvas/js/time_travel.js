// Time travel: the event that is shown, the data that it needs, and its address (?at=).

import { ApiError, call } from "./api.js";
import { emptyLog, LruCache, nameHistory, pastView, positionOf, stepped, withNewer, withOlder } from "./event_log.js";
import { summarize } from "./event_summaries.js";
import { LatestTask } from "../../ui/latest_task.js";

const PAGE = 500;
const KEPT_SNAPSHOTS = 24;
/** The slider must rest this long before the server is asked. */
const REST_MS = 120;
const CATCH_UP_MS = 500;
const PLAY_MS = 900;
const REDUCED_MOTION_PLAY_MS = 2500;
const NOTHING = "No events were recorded up to that time.";
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

export class TimeTravel {
  #log = emptyLog();
  #book = nameHistory([]);
  #at = null;
  #shown = null;
  #failure = null;
  #isOpen = false;
  #isArriving = false;
  #isReturning = false;
  #busy = 0;
  #playing = null;
  #extending = null;
  #opening = null;
  #catchUpTimer = null;
  #snapshots = new LruCache(KEPT_SNAPSHOTS);
  #showing = new LatestTask();
  #paging = new LatestTask();

  constructor(options) {
    this.options = options;
  }

  /** @returns {PastView|null} null for the present */
  get shown() {
    return this.#shown;
  }

  get isOpen() {
    return this.#isOpen;
  }

  /** On the way back through the browser's history, to the present. */
  get isReturning() {
    return this.#isReturning;
  }

  get isPlaying() {
    return this.#playing !== null;
  }

  get isLoading() {
    return this.#busy > 0;
  }

  /** Loading the event that the address names, with nothing else to show. */
  get isArriving() {
    return this.#isArriving;
  }

  get log() {
    return this.#log;
  }

  /** The position of the slider, which may be ahead of what is shown; null for the present. */
  get position() {
    return this.#at === null ? null : Math.max(0, positionOf(this.#log, this.#at));
  }

  get failure() {
    return this.#failure;
  }

  describe(event) {
    return summarize(event, (id) => this.#nameOf(id, event.seq));
  }

  /** Call it when all who follow the browser's history do: after this does, `isReturning` says nothing any more. */
  start() {
    addEventListener("popstate", () => this.#popped());
    const at = addressedEvent();
    if (at === null) return;
    if (!history.state?.past) {
      // The Back button leads to the present.
      this.#writeAddress();
      history.pushState({ past: true }, "", addressWith("at", at));
    }
    this.visit(at);
  }

  open() {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#opening = this.#newest();
  }

  close() {
    this.#isOpen = false;
    this.leave();
  }

  leave() {
    this.#playing = null;
    this.#showing.cancel();
    this.#at = null;
    this.#shown = null;
    this.#failure = null;
    this.#writeAddress();
    if (this.#isOpen && (this.#log.hasNewer || !this.#log.events.length)) this.#newest();
    this.options.onChange();
  }

  /** @param {number} position in the log; its end is the present */
  scrub(position) {
    this.#playing = null;
    this.#go(position);
  }

  step(by) {
    this.#playing = null;
    this.#step(by);
  }

  /** Loads older events at the left edge, once the slider is released. */
  settle() {
    if (this.position === 0 && this.#log.hasOlder) this.#extend("older");
  }

  play() {
    if (this.isPlaying) this.#playing = null;
    else if (this.#at !== null) this.#playOn((this.#playing = Symbol("playing")));
    this.options.onChange();
  }

  /** A new event arrived: the loaded log no longer ends with the newest one. */
  onEvent({ seq }) {
    if (seq === null || !this.#isOpen || this.#log.hasNewer) return;
    this.#catchUpTimer ??= setTimeout(() => this.#catchUp(), CATCH_UP_MS);
  }

  async #catchUp() {
    this.#catchUpTimer = null;
    if (!this.#log.events.length) return this.#newest();
    try {
      do await this.#read("newer");
      while (this.#log.hasNewer);
    } catch (failure) {
      // The next event triggers another attempt.
      if (!(failure instanceof ApiError)) throw failure;
    }
    this.options.onChange();
  }

  // --- Moving ----------------------------------------------------------------------------------------------

  async #step(by) {
    const at = this.#at;
    // A key may be pressed while the first events are on their way.
    if (!this.#log.events.length) await this.#opening;
    if (this.#at !== at) return;
    for (;;) {
      const { position, wants } = stepped(this.#log, this.position, by);
      if (!wants) return position === this.position || this.#go(position);
      if (!(await this.#extend(wants)) || this.#at !== at) return;
    }
  }

  async #go(position) {
    const event = position === null ? undefined : this.#log.events[position];
    if (!event) return this.leave();
    this.#at = event.seq;
    const delay = this.#snapshots.get(event.seq) ? 0 : REST_MS;
    const read = (signal) => this.#needed(event, signal);
    const again = () => this.#go(positionOf(this.#log, event.seq));
    const found = await this.#report(() => this.#showing.run(read, delay), again);
    if (!found) return;
    this.#shown = pastView(found.value[0], event, found.value[1] ?? null, this.options.active());
    this.#writeAddress();
    this.options.onChange();
  }

  async #playOn(turn) {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, reducedMotion.matches ? REDUCED_MOTION_PLAY_MS : PLAY_MS));
      if (this.#playing !== turn) return;
      await this.#step(1);
      if (this.#playing === turn && (this.#at === null || this.#failure)) this.play();
    }
  }

  /** The removed workspace is only in the snapshot before the transaction of its removal. */
  async #needed({ seq, event_type }, signal) {
    const snapshot = await this.#snapshot(seq, signal);
    return event_type === "WORKSPACE_REMOVED" ? [snapshot, await this.#snapshot(snapshot.before, signal)] : [snapshot];
  }

  /** @param {string} at the seq of an event, or an ISO time */
  async visit(at) {
    this.#playing = null;
    this.#isOpen = true;
    this.#isArriving = !this.options.active().size;
    const read = async (signal) => {
      const { data } = await call("GET", `/canvas/snapshot?at=${encodeURIComponent(at)}`, undefined, signal);
      // The snapshot includes the whole transaction of its event.
      const seq = /^\d+$/.test(at) ? Math.min(Number(at), data.seq) : data.seq;
      return { snapshot: data, seq, log: await this.#around(seq, signal) };
    };
    const found = await this.#report(() => this.#showing.run(read), () => this.visit(at));
    this.#isArriving = false;
    if (found) await this.#arrive(at, found.value);
    this.options.onChange();
  }

  async #arrive(at, { snapshot, seq, log }) {
    this.#setLog(log);
    const newest = log.events.at(-1)?.seq;
    if (seq && !(Number(at) > newest)) {
      this.#snapshots.set(snapshot.seq, snapshot);
      return this.#go(positionOf(log, seq));
    }
    const message = seq ? `There is no event ${at} yet. The newest is ${newest}.` : NOTHING;
    this.#failure = { message, again: null };
  }

  // --- Reading ---------------------------------------------------------------------------------------------

  async #snapshot(seq, signal) {
    const known = this.#snapshots.get(seq);
    if (known) return known;
    const { data } = await call("GET", `/canvas/snapshot?at=${seq}`, undefined, signal);
    this.#snapshots.set(seq, data);
    return data;
  }

  async #newest() {
    const read = async (signal) => withOlder(emptyLog(), await events({}, signal));
    const found = await this.#report(() => this.#paging.run(read), () => this.#newest());
    if (found) this.#setLog(found.value);
  }

  async #around(seq, signal) {
    const [older, newer] = await Promise.all([events({ before: seq + 1 }, signal), events({ after: seq }, signal)]);
    return withNewer(withOlder(emptyLog(), older), newer);
  }

  /** Loads one page at either end; concurrent calls share it. @returns {Promise<boolean>} whether it arrived */
  #extend(end) {
    this.#extending ??= this.#extendBy(end).finally(() => (this.#extending = null));
    return this.#extending;
  }

  async #extendBy(end) {
    return (await this.#report(() => this.#read(end), () => this.#extend(end))) !== null;
  }

  async #read(end) {
    const isOlder = end === "older";
    const edge = this.#log.events.at(isOlder ? 0 : -1).seq;
    const page = await events(isOlder ? { before: edge } : { after: edge });
    this.#setLog((isOlder ? withOlder : withNewer)(this.#log, page));
  }

  #setLog(log) {
    this.#log = log;
    this.#book = nameHistory(log.events);
    this.options.onChange();
  }

  #nameOf(id, seq) {
    const row = this.#shown?.seq === seq ? this.#shown.workspaces.get(id) : null;
    const name = row?.name ?? this.#book(id, seq) ?? this.options.active().get(id)?.name;
    return name ?? `workspace ${String(id).slice(0, 8)}`;
  }

  /** The result of the task; null when it failed, and then `failure` says why. */
  async #report(task, again) {
    this.#busy += 1;
    this.#failure = null;
    this.options.onChange();
    try {
      return await task();
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      this.#failure = { message: `Could not load events: ${failure.message}.`, again };
      return null;
    } finally {
      this.#busy -= 1;
      this.options.onChange();
    }
  }

  // --- The address -----------------------------------------------------------------------------------------

  /** The browser history has one entry for the present and at most one for the past. */
  #writeAddress() {
    if (this.#isReturning) return;
    const isPast = history.state?.past === true;
    if (this.#shown) {
      history[isPast ? "replaceState" : "pushState"]({ past: true }, "", addressWith("at", this.#shown.seq));
    } else if (isPast) {
      this.#isReturning = true;
      history.back();
    } else if (addressedEvent() !== null) {
      history.replaceState(null, "", addressWith("at", null));
    }
  }

  #popped() {
    const at = addressedEvent();
    if (this.#isReturning) {
      this.#isReturning = false;
      this.#writeAddress();
    } else if (at === null) {
      this.leave();
    } else if (at !== String(this.#shown?.seq)) {
      this.visit(at);
    }
  }
}

/** An address, by default of this page, with one query parameter set, or removed (null). */
export function addressWith(name, value, base = location) {
  const address = new URL(base);
  if (value === null) address.searchParams.delete(name);
  else address.searchParams.set(name, value);
  return address;
}

const addressedEvent = () => new URLSearchParams(location.search).get("at");

/** A page has at most PAGE rows, fewer if they are large. */
async function events(query, signal) {
  const path = `/events?${new URLSearchParams({ ...query, limit: PAGE })}`;
  const { data, headers } = await call("GET", path, undefined, signal);
  return { rows: data, more: /rel="next"/.test(headers.get("Link") ?? "") };
}
