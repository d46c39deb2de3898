// Parts of the panel that are read from the server: they say that they load, and that they could not, with "Try again".

import { ApiError, call, linkOf } from "../api.js";
import { LatestTask } from "../../../ui/latest_task.js";
import { button, make } from "./dom.js";

/** Several events in short order are one reason to read again. */
const SOON_MS = 400;
/** So many rows that came are kept: a list that stays open for days must not grow for ever. */
const MOST_NEW = 500;

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

/** A list with the newest first: the first page, "Older", and what has come since; after MOST_NEW rows it begins anew. */
export class PagedList {
  #latest = new LatestTask();
  #shown = new Set();
  #path = null;
  #older = null;
  #newer = null;
  #timer = null;
  #isCatchingUp = false;
  #come = 0;
  #list = make("ol", { class: "panel-list" });
  #foot = make("div", { class: "panel-foot" });
  #status = make("div", {}, loading());

  /**
   * @param {object} options
   * @param {string} options.path of the first page
   * @param {(row: object) => HTMLElement} options.show one row
   * @param {string} options.empty what to say without rows
   * @param {(headers: Headers, rows: object[]) => string|null} options.newerPath of the rows after these, the oldest first
   */
  constructor(options) {
    this.options = options;
    this.element = make("div", {}, this.#status, this.#list, this.#foot);
    this.load(options.path);
  }

  /** Begins anew, with another path. */
  async load(path) {
    this.#path = path;
    this.#status.replaceChildren(loading());
    this.#foot.replaceChildren();
    try {
      const found = await this.#latest.run((signal) => call("GET", path, undefined, signal));
      if (!found) return;
      this.#list.replaceChildren();
      this.#shown.clear();
      this.#come = 0;
      this.#take(found.value);
      this.#newer = this.options.newerPath(found.value.headers, found.value.data);
      this.#showEmpty();
    } catch (failure) {
      this.#status.replaceChildren(failed(failure, () => this.load(path)));
    }
  }

  /** Something has come: reads it, soon. */
  catchUpSoon() {
    this.#timer ??= setTimeout(() => this.#catchUp(), SOON_MS);
  }

  close() {
    clearTimeout(this.#timer);
    this.#latest.cancel();
  }

  async #catchUp() {
    this.#timer = null;
    if (this.#newer === null || this.#come >= MOST_NEW) return this.load(this.#path);
    if (this.#isCatchingUp) return this.catchUpSoon();
    this.#isCatchingUp = true;
    const path = this.#newer;
    try {
      const { data, headers } = await call("GET", path);
      // The list began anew meanwhile.
      if (path !== this.#newer) return;
      for (const row of data) this.#add(row, "prepend");
      this.#newer = this.options.newerPath(headers, data) ?? path;
      this.#come += data.length;
      this.#showEmpty();
      // There may be more than one page of them.
      if (data.length) this.catchUpSoon();
    } catch (failure) {
      this.#status.replaceChildren(failed(failure, () => this.#catchUp()));
    } finally {
      this.#isCatchingUp = false;
    }
  }

  async #readOlder() {
    this.#foot.replaceChildren(loading());
    try {
      const found = await this.#latest.run((signal) => call("GET", this.#older, undefined, signal));
      if (found) this.#take(found.value);
    } catch (failure) {
      this.#foot.replaceChildren(failed(failure, () => this.#readOlder()));
    }
  }

  #take({ data, headers }) {
    for (const row of data) this.#add(row, "append");
    this.#older = linkOf(headers, "next");
    this.#foot.replaceChildren(...(this.#older ? [button("Older", () => this.#readOlder())] : []));
  }

  #add(row, where) {
    if (this.#shown.has(row.id)) return;
    this.#shown.add(row.id);
    this.#list[where](this.options.show(row));
  }

  #showEmpty() {
    this.#status.replaceChildren(...(this.#shown.size ? [] : [make("p", { class: "soft" }, this.options.empty)]));
  }
}
