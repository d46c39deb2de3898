// What the server says: the list of workspaces, and the events of /ws after it, into the store.

import { ApiError, address, call } from "./api.js";
import { backoff, Stream } from "../../ui/stream.js";
import { startTabIcon } from "../../ui/tab_icon.js";
import { serverNow, setServerTime } from "../../ui/time.js";

/** Events are taken together: each change of the state costs as much as the organisation is large. */
const GATHER_MS = 100;
/** The server's count is up to five seconds old: one that is read later includes what has just happened. */
const SETTLED_MS = 5500;
const PHASES = { 401: "signed-out", 403: "forbidden" };

export class Feed {
  /** The saved viewport, once it is loaded; null without one. */
  viewport = null;
  #savedViewport = call("GET", "/canvas/viewport").catch(() => null);
  #failedLoads = 0;
  #loadTimer;
  #isLoading = false;
  #isWantedAgain = false;
  #refusals = 0;
  #countTimer = null;
  #isCountWantedAgain = false;
  #gathered = [];
  #gatherTimer = null;

  /** @param {{onEvent: (event) => void}} options called with each event as it arrives */
  constructor(store, shell, { onEvent }) {
    Object.assign(this, { store, shell, onEvent });
    this.stream = new Stream({
      path: address("/ws"),
      beats: true,
      position: () => {
        this.#gather();
        return store.state;
      },
      onEvent: (event) => this.#received(event),
      onAlive: () => store.dispatch({ type: "alive", at: serverNow() }),
      onLive: () => {
        this.#connection("live");
        // Transient events are not replayed after a reconnect, so load everything once.
        this.load();
      },
      onConnecting: () => this.#connection(store.state.connection.status === "connecting" ? "connecting" : "reconnecting"),
      onLost: (retryAt) => this.#connection("reconnecting", retryAt),
      onRefused: (phase) => this.#refused(phase),
      onStartOver: () => location.reload(),
    });
    addEventListener("refused", ({ detail: status }) => {
      this.stream.stop();
      this.#refused(PHASES[status]);
    });
    addEventListener("online", () => (store.state.phase === "ready" ? this.stream.retry() : this.retry()));
    addEventListener("offline", () => {
      this.stream.stop();
      this.#connection("offline");
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.stream.ping());
    startTabIcon();
  }

  async load() {
    clearTimeout(this.#loadTimer);
    this.#isWantedAgain = this.#isLoading;
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.shell.retryAt = null;
    this.#gather();
    this.store.dispatch({ type: "load" });
    try {
      await this.#read();
    } catch (failure) {
      this.#failed(failure);
    } finally {
      this.#isLoading = false;
    }
    if (this.#isWantedAgain) this.load();
  }

  retry() {
    this.#failedLoads = 0;
    this.load();
  }

  async #read() {
    const refusals = this.#refusals;
    const { data, headers } = await call("GET", "/workspaces");
    // Asked before the session ended, and answered afterwards.
    if (refusals !== this.#refusals) return;
    setServerTime(headers.get("X-Server-Time"));
    // Before the first rendering, so that the cards do not jump.
    this.viewport ??= (await this.#savedViewport)?.data ?? null;
    this.#gather();
    const seq = Number(headers.get("X-Event-Seq"));
    const eventId = headers.get("X-Event-ID") ?? "";
    this.store.dispatch({ type: "snapshot", seq, eventId, workspaces: data, at: serverNow() });
    this.#failedLoads = 0;
    this.#countAttention();
    this.#countAttentionSoon();
    if (!this.stream.isRunning) this.stream.connect();
  }

  #failed(failure) {
    if (!(failure instanceof ApiError)) throw failure;
    if (failure.status in PHASES) return;
    const wait = backoff(this.#failedLoads++) + 1000;
    this.shell.retryAt = Date.now() + wait;
    this.#loadTimer = setTimeout(() => this.load(), wait);
    if (this.store.state.phase === "ready") this.shell.toast(`Could not refresh: ${failure.message}`);
    this.store.dispatch({ type: "failed", phase: "error", message: failure.message });
  }

  #received(event) {
    this.#gathered.push(event);
    this.#gatherTimer ??= setTimeout(() => this.#gather(), GATHER_MS);
    this.onEvent(event);
    if (event.seq !== null || event.event === "WORKSPACE_REFUSED") this.#countAttentionSoon();
  }

  /** Takes the events that have arrived since the last time. */
  #gather() {
    clearTimeout(this.#gatherTimer);
    this.#gatherTimer = null;
    const events = this.#gathered;
    this.#gathered = [];
    if (events.length) this.store.dispatch({ type: "events", events, at: serverNow() });
  }

  /** Counts once what has just happened is included. All calls meanwhile share one more count. */
  #countAttentionSoon() {
    this.#isCountWantedAgain = this.#countTimer !== null;
    this.#countTimer ??= setTimeout(() => {
      this.#countTimer = null;
      this.#countAttention();
      if (this.#isCountWantedAgain) this.#countAttentionSoon();
    }, SETTLED_MS);
  }

  /** The tab's title, and with it its icon, say how many workspaces need somebody: "(2) Molecule". */
  async #countAttention() {
    const answer = await call("GET", "/attention").catch(() => null);
    if (answer) document.title = answer.data.count ? `(${answer.data.count}) Molecule` : "Molecule";
  }

  #refused(phase) {
    this.#refusals += 1;
    this.store.dispatch({ type: "failed", phase, message: null });
  }

  #connection(status, retryAt = null) {
    this.store.dispatch({ type: "connection", status, retryAt });
  }
}
