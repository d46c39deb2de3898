// Parts and counts of a page that are fetched again when something has changed: the same URL, at most once in 2 s.
//
// [data-live-part="<id>"] is replaced by the element with that id of the fetched page, [data-live-count="<what>"] gets
// its text. A part in [data-workspace] counts for the events of that workspace only; [data-live-on="activity"] makes
// calls count, too. [data-live-every="<seconds>"] is for a part that changes without events.

import { BACKGROUND } from "./background.js";

const SHORTEST_MS = 2000;
const RETRY_MS = 5000;
/** A page that takes long is fetched less often: a tenth of the time at most. */
const SHARE = 10;
// Not in the log, and yet what lists of problems are made of.
const TRANSIENT = ["WORKSPACE_REFUSED", "ENROLMENT_UPDATED", "DEPLOYMENT_UPDATED"];
/** The server may remember counts for five seconds (ShortCache), so they are fetched that much after a change. */
const COUNTS_MS = 6000;
/** What the server answers for a page that is not there any more, and what that means. */
const REFUSED = { 401: "signed-out", 403: "forbidden", 404: "gone", opaqueredirect: "gone" };
const STATE = "details, input[type=checkbox], input[type=radio]";

/** Milliseconds until the next fetch may begin. @param {number} took by the last one, which began at `last` */
export function waitFor(now, last, took) {
  return Math.max(0, last + Math.max(SHORTEST_MS, SHARE * took) - now);
}

/** Whether an event is about what a part shows. @param {{workspace?: string, on?: string}} part */
export function concerns({ event, seq, workspace_id }, { workspace, on }) {
  if (workspace && workspace !== workspace_id) return false;
  return seq !== null || TRANSIENT.includes(event) || (event === "ACTIVITY_LOGGED" && on === "activity");
}

/** When counts were changed by events: the first and the last that the page may not show yet. Times in milliseconds. */
export class StaleCounts {
  #since = null;
  #until = null;

  changed(now) {
    this.#since ??= now;
    this.#until = now;
  }

  /** Milliseconds until the page has to be fetched for its counts; Infinity when they are right. */
  wait(now, last) {
    return this.#since === null ? Infinity : Math.max(0, Math.max(this.#since, last) + COUNTS_MS - now);
  }

  /** The page was fetched, at `at`: right about what changed long enough before. */
  fetched(at) {
    if (this.#until !== null && at - this.#until >= COUNTS_MS) this.#since = this.#until = null;
  }
}

export class Parts {
  #dirty = new Set();
  #counts = new StaleCounts();
  #isWhole = false;
  #timer = null;
  #isFetching = false;
  #last = -Infinity;
  #took = 0;

  /** Options: onFetching(), onFetched(page, whether everything was wanted), onRefused(why). */
  constructor(options) {
    this.options = options;
    document.addEventListener("visibilitychange", () => this.#schedule());
    document.addEventListener("focusout", () => this.#schedule());
    document.addEventListener("toggle", () => this.#schedule(), true);
    for (const { dataset } of document.querySelectorAll("[data-live-every]")) {
      setInterval(() => this.#changed(dataset.livePart), 1000 * dataset.liveEvery);
    }
  }

  #changed(id) {
    this.#dirty.add(id);
    this.#schedule();
  }

  onEvent(event) {
    for (const part of document.querySelectorAll("[data-live-part]")) {
      const about = { workspace: part.closest("[data-workspace]")?.dataset.workspace, on: part.dataset.liveOn };
      if (concerns(event, about)) this.#dirty.add(part.dataset.livePart);
    }
    if (document.querySelector("[data-live-count]") && concerns(event, {})) this.#counts.changed(performance.now());
    this.#schedule();
  }

  /** Everything that is live is fetched again: values of workspaces, too. */
  everything() {
    this.#isWhole = true;
    this.#schedule();
  }

  /** A hidden page catches up when it is shown. */
  #schedule() {
    clearTimeout(this.#timer);
    if (this.#isFetching || document.hidden) return;
    const now = performance.now();
    const isDue = this.#isWhole || [...this.#dirty].some((id) => !isInUse(document.getElementById(id)));
    const wait = Math.max(waitFor(now, this.#last, this.#took), isDue ? 0 : this.#counts.wait(now, this.#last));
    if (wait < Infinity) this.#timer = setTimeout(() => this.#fetch(), wait);
  }

  async #fetch() {
    this.#isFetching = true;
    this.#last = performance.now();
    const [isWhole, wanted] = [this.#isWhole, new Set(this.#dirty)];
    this.#isWhole = false;
    this.#dirty.clear();
    this.options.onFetching();
    const page = await fetchPage().catch(() => undefined);
    this.#took = performance.now() - this.#last;
    if (page in REFUSED) this.options.onRefused(REFUSED[page]);
    else if (page) this.#apply(page, isWhole, wanted);
    else this.#failed(isWhole, wanted);
    this.#isFetching = false;
    this.#schedule();
  }

  /** Out of reach, or an error: once more, later. The word in the top bar says meanwhile that the page is not live. */
  #failed(isWhole, wanted) {
    this.#isWhole ||= isWhole;
    for (const id of wanted) this.#dirty.add(id);
    this.#took = RETRY_MS / SHARE;
  }

  #apply(page, isWhole, wanted) {
    for (const part of document.querySelectorAll("[data-live-part]")) {
      const id = part.dataset.livePart;
      if (!isWhole && !wanted.has(id)) continue;
      if (isInUse(part)) this.#dirty.add(id);
      else replace(part, page.getElementById(id));
    }
    showCounts(page);
    this.#counts.fetched(this.#last);
    document.title = page.title;
    this.options.onFetched(page, isWhole);
  }
}

/** @returns {Promise<Document|string|number>} what REFUSED explains, where there is no such page any more */
async function fetchPage() {
  const signal = AbortSignal.timeout(15000);
  const response = await fetch(location.href, { headers: BACKGROUND, redirect: "manual", cache: "no-store", signal });
  const answer = response.type === "opaqueredirect" ? response.type : response.status;
  if (answer in REFUSED) return answer;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Somebody types in it, or has a menu or dialog of it open. */
function isInUse(part) {
  if (!part) return false;
  const typing = part.contains(document.activeElement) && document.activeElement.matches("input:not([type=checkbox]), textarea, select");
  return typing || part.querySelector(":popover-open, dialog[open]") !== null;
}

/** Keeps the focus, what is folded out and what is ticked. */
function replace(part, next) {
  if (!next) return;
  const focused = part.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const kept = new Map([...part.querySelectorAll(STATE)].map((one) => [keyOf(one), one.open ?? one.checked]));
  part.replaceWith(next);
  for (const one of next.querySelectorAll(STATE)) {
    const value = kept.get(keyOf(one));
    if (value !== undefined) one["open" in one ? "open" : "checked"] = value;
  }
  if (focused) [...next.querySelectorAll("a, button, input, summary, [tabindex]")].find((one) => keyOf(one) === focused)?.focus({ preventScroll: true });
}

/** What is the same element in two versions of a part. */
function keyOf(element) {
  const { id, name, value, tagName } = element;
  const row = element.closest("[data-workspace]")?.dataset.workspace ?? "";
  const text = tagName === "DETAILS" ? element.querySelector("summary")?.textContent : element.textContent;
  return id || [row, tagName, name, value, element.getAttribute("href"), text?.trim()].join(" ");
}

function showCounts(page) {
  for (const count of document.querySelectorAll("[data-live-count]")) {
    const next = page.querySelector(`[data-live-count="${count.dataset.liveCount}"]`);
    if (!next) continue;
    count.textContent = next.textContent;
    count.className = next.className;
    count.hidden = next.hidden;
  }
}
