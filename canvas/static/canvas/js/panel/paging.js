// A list with the newest first: the first page, "Older", and what has come since.

import { call, linkOf } from "../api.js";
import { LatestTask } from "../../../ui/latest_task.js";
import { button, make } from "./dom.js";
import { failed, loading } from "./reading.js";

const SOON_MS = 400;

export class PagedList {
  #latest = new LatestTask();
  #shown = new Set();
  #path = null;
  #older = null;
  #newer = null;
  #timer = null;
  #isCatchingUp = false;
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
      this.#take(found.value, "append");
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
    if (this.#newer === null) return this.load(this.#path);
    if (this.#isCatchingUp) return this.catchUpSoon();
    this.#isCatchingUp = true;
    const path = this.#newer;
    try {
      const { data, headers } = await call("GET", path);
      // The list began anew meanwhile.
      if (path !== this.#newer) return;
      for (const row of data) this.#add(row, "prepend");
      this.#newer = this.options.newerPath(headers, data) ?? path;
      this.#showEmpty();
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
      if (found) this.#take(found.value, "append");
    } catch (failure) {
      this.#foot.replaceChildren(failed(failure, () => this.#readOlder()));
    }
  }

  #take({ data, headers }, where) {
    for (const row of data) this.#add(row, where);
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
