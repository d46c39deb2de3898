// Parts of the panel that are read from the server: they say that they load, and that they could not, with "Try again".

import { ApiError, call } from "../api.js";
import { LatestTask } from "../../../ui/latest_task.js";
import { button, make } from "./dom.js";

/** Several events in short order are one reason to read again. */
const SOON_MS = 400;

export const loading = () => make("p", { class: "soft", role: "status" }, "Loading…");

/** @param {ApiError} failure others are mistakes of ours */
export function failed(failure, again) {
  if (!(failure instanceof ApiError)) throw failure;
  return make("p", { class: "panel-failure", role: "alert" }, make("span", {}, `Could not load: ${failure.message}.`), button("Try again", again));
}

/** What a GET of that path answers, for Part. */
export const read = (path) => async (signal) => (await call("GET", path, undefined, signal)).data;

export class Part {
  #latest = new LatestTask();
  #timer = null;
  #content = make("div", {}, loading());

  /**
   * @param {string} title
   * @param {(signal: AbortSignal) => Promise<any>} read
   * @param {(found: any) => (Node|string|null)[]} drawn what was read, as elements
   */
  constructor(title, read, drawn) {
    Object.assign(this, { read, drawn });
    this.element = make("section", { class: "part" }, title && make("h3", {}, title), this.#content);
    this.load();
  }

  async load() {
    clearTimeout(this.#timer);
    this.#timer = null;
    try {
      const found = await this.#latest.run(this.read);
      if (found) this.show(found.value);
    } catch (failure) {
      this.#content.replaceChildren(failed(failure, () => this.#again()));
    }
  }

  show(found) {
    this.#content.replaceChildren(...this.drawn(found).filter(Boolean));
  }

  loadSoon() {
    this.#timer ??= setTimeout(() => this.load(), SOON_MS);
  }

  close() {
    clearTimeout(this.#timer);
    this.#latest.cancel();
  }

  #again() {
    this.#content.replaceChildren(loading());
    this.load();
  }
}
