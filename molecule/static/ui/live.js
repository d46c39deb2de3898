// Keeps a page of the admin up to date by /ws, without polling: one socket, and only where something is live.

import { Parts } from "./live_parts.js";
import { Values } from "./live_values.js";
import { Stream } from "./stream.js";

const LIVE = "[data-workspace] [data-live], [data-live-count], [data-live-part]";
const BEATING = "[data-live=heartbeat], [data-live=error_rate], [data-live=active_tasks]";
const WORDS = { live: "Live", reconnecting: "Reconnecting", lost: "Not live" };
const WHY = {
  live: "This page follows what happens.",
  reconnecting: "The connection was lost. Statuses and ages may be out of date.",
  lost: "The server does not answer. Statuses and ages may be out of date.",
  offline: "This device is offline. Statuses and ages may be out of date.",
  "signed-out": "Your session has ended. Load the page again to log in.",
  forbidden: "Your account may no longer view workspaces.",
  gone: "What this page is about has changed. Load it again.",
};

/**
 * The state of the connection after something happened to it. The first attempt after a loss is "reconnecting"; when it
 * fails too, the page is not live until it is connected again, so that the word does not alternate.
 */
export function connectionAfter(state, happened) {
  if (happened === "lost") return state === "live" ? "reconnecting" : "lost";
  return happened;
}

/** The position of the page: "12:<id of event 12>". @returns {{seq: number, eventId: string}} */
export function positionIn(content) {
  const [seq, eventId] = content.split(":");
  return { seq: Number(seq), eventId };
}

/** @param {{seq: number}} position @returns the position after an event; events without seq have none */
export const positionAfter = (position, { seq, id }) => (seq > position.seq ? { seq, eventId: id ?? "" } : position);

class Live {
  #position;
  #state = "connecting";
  #wasLive = false;
  #isRefused = false;
  #isStartingOver = false;
  /** Events since the fetch that is under way began, because what it brings may be older; null without one. */
  #meanwhile = null;

  constructor(meta) {
    this.#position = positionIn(meta.content);
    this.values = new Values(document.getElementById("live-badges"));
    this.parts = new Parts({
      onFetching: () => (this.#meanwhile = []),
      onFetched: (page, isWhole) => this.#fetched(page, isWhole),
      onRefused: (why) => this.#refused(why),
    });
    this.stream = new Stream({
      path: meta.dataset.socket,
      beats: document.querySelector(BEATING) !== null,
      position: () => this.#position,
      onConnecting() {},
      onLive: () => this.#live(),
      onEvent: (event) => this.#event(event),
      onAlive() {},
      onLost: () => this.#happened("lost"),
      onRefused: (why) => this.#refused(why),
      onStartOver: () => this.#startOver(),
    });
  }

  start() {
    this.stream.connect();
    document.getElementById("live-retry").addEventListener("click", () => this.#retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.stream.ping());
    addEventListener("online", () => this.#retry());
    addEventListener("offline", () => {
      this.stream.stop();
      this.#show("lost", "offline");
    });
    addEventListener("pagehide", () => this.stream.stop());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#retry());
  }

  #retry() {
    if (this.#isRefused) location.reload();
    else this.stream.retry();
  }

  /** Heartbeats and other transient events are not replayed after a reconnect. */
  #live() {
    if (this.#wasLive) this.parts.everything();
    this.#wasLive = true;
    this.#happened("live");
  }

  #event(event) {
    this.#position = positionAfter(this.#position, event);
    this.#meanwhile?.push(event);
    this.values.apply(event);
    this.parts.onEvent(event);
  }

  #fetched(page, isWhole) {
    const position = positionIn(page.querySelector("meta[name=log-position]").content);
    if (isWhole) this.values.take(page);
    this.values.index();
    for (const event of this.#meanwhile) if (event.seq === null || event.seq > position.seq) this.values.apply(event);
    this.#meanwhile = null;
    if (!this.#isStartingOver) return;
    this.#isStartingOver = false;
    this.#position = position;
    this.stream.connect();
  }

  /** The log is another one, so the position is that of a page that is fetched now. */
  #startOver() {
    this.#isStartingOver = true;
    this.parts.everything();
  }

  #refused(why) {
    this.stream.stop();
    this.#isRefused = true;
    this.#show("lost", why);
  }

  #happened(what) {
    const state = connectionAfter(this.#state, what);
    this.#show(state, state);
  }

  /** While the page is not live, statuses and ages look stale (parts.css). */
  #show(state, why) {
    this.#state = state;
    document.documentElement.dataset.connection = state;
    const word = document.getElementById("live");
    if (word.textContent !== WORDS[state]) word.textContent = WORDS[state];
    word.title = WHY[why];
    document.getElementById("live-retry").hidden = state === "live";
  }
}

/** Does nothing on a page without anything live, and for users who may not view workspaces. */
export function startLive() {
  const meta = document.querySelector("meta[name=log-position]");
  if (meta && document.querySelector(LIVE)) new Live(meta).start();
}
