// The values of workspaces on a page of the admin, which events of /ws change in place.
//
// [data-workspace="<id>"] is a row or a header; in it [data-live="status|heartbeat|task|error_rate|active_tasks"] are
// the places of its values. Badges are copies of the server's, in <template id="live-badges">.

import { serverNow } from "./time.js";
import { fieldsAfter, stateOf } from "./workspaces.js";

const ALIVE = ["online", "degraded"];

/** The fields that live.js shows, from what an event changes. @returns {object} the workspace after the event */
export function changedBy(event, before) {
  const fields = event.event === "WORKSPACE_REMOVED" ? { status: "removed" } : fieldsAfter(event, before);
  return { ...before, ...fields };
}

/** "12%" of 0.12, as columns.error_rate() of the server. */
export const percent = (ratio) => `${Math.round(ratio * 100)}%`;

/** "2026-10-25 02:30:00 UTC", as the titles of the server. */
export const utc = (iso) => `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;

export class Values {
  #places = new Map();
  #workspaces = new Map();
  #badges;
  #last;

  /** @param {HTMLTemplateElement} badges [data-state] around the badge of each state; data-last: see #showTask() */
  constructor(badges) {
    const found = badges.content.querySelectorAll("[data-state]");
    this.#badges = new Map([...found].map((one) => [one.dataset.state, one.firstElementChild]));
    this.#last = badges.dataset.last;
    this.index();
  }

  /** Finds the places again, after parts of the page were replaced. */
  index() {
    this.#places = new Map();
    for (const place of document.querySelectorAll("[data-workspace] [data-live]")) {
      const { workspace } = place.closest("[data-workspace]").dataset;
      if (!this.#places.has(workspace)) this.#places.set(workspace, []);
      this.#places.get(workspace).push(place);
    }
    this.#workspaces.clear();
  }

  /** Takes all values from the same page, fetched again. Those in parts are replaced with their part. */
  take(page) {
    for (const place of document.querySelectorAll("[data-workspace] [data-live]")) {
      const { workspace } = place.closest("[data-workspace]").dataset;
      const next = page.querySelector(`[data-workspace="${workspace}"] [data-live="${place.dataset.live}"]`);
      if (next && !place.closest("[data-live-part]")) place.replaceWith(next.cloneNode(true));
    }
  }

  apply(event) {
    const places = this.#places.get(event.workspace_id);
    if (!places) return;
    const before = this.#workspaces.get(event.workspace_id) ?? this.#read(places);
    const after = changedBy(event, before);
    this.#workspaces.set(event.workspace_id, after);
    for (const place of places) this.#show(place, before, after);
  }

  /** What the page says now. */
  #read(places) {
    const [status, beat, task] = ["status", "heartbeat", "task"].map((name) => places.find((place) => place.dataset.live === name));
    return {
      status: this.#stateIn(status),
      last_heartbeat_at: timeIn(beat)?.dateTime ?? null,
      current_task: taskText(task, this.#last),
    };
  }

  #stateIn(place) {
    const word = place?.querySelector(".badge")?.textContent;
    const [state] = [...this.#badges].find(([, badge]) => badge.textContent === word) ?? [];
    return state === "enrolment-expired" ? "provisioning" : state;
  }

  #show(place, before, after) {
    const name = place.dataset.live;
    const has = (field) => after[field] !== before[field];
    if (name === "status" && (has("status") || has("enrolment_expires_at"))) this.#showState(place, after);
    else if (name === "heartbeat" && has("last_heartbeat_at")) showTime(place, after.last_heartbeat_at);
    else if (name === "task" && (has("current_task") || has("status"))) this.#showTask(place, after);
    else if (name === "error_rate" && has("last_error_rate")) place.textContent = percent(after.last_error_rate);
    else if (name === "active_tasks" && has("active_tasks")) place.textContent = String(after.active_tasks);
  }

  #showState(place, workspace) {
    const badge = this.#badges.get(stateOf(workspace, serverNow()))?.cloneNode(true);
    if (!badge) return;
    const shown = place.querySelector(".badge");
    if (shown) shown.replaceWith(badge);
    else place.prepend(badge);
  }

  /** What a silent agent did last is marked "last:", because it may have stopped. */
  #showTask(place, { current_task, status }) {
    const text = document.createElement("span");
    const isPast = current_task !== "" && status !== undefined && !ALIVE.includes(status);
    text.className = isPast ? "past" : "";
    text.textContent = (isPast ? this.#last : "") + current_task;
    text.title = current_task;
    text.dir = "auto";
    place.replaceChildren(text);
  }
}

/** A place is the <time> itself or an element around it. */
const timeIn = (place) => (place?.matches("time") ? place : place?.querySelector("time"));

function showTime(place, iso) {
  const time = timeIn(place) ?? place.appendChild(document.createElement("time"));
  if (time !== place) place.replaceChildren(time);
  time.dateTime = iso;
  time.title = utc(iso);
  time.dataset.relative = "";
  if (!time.textContent) time.textContent = "now";
}

function taskText(place, last) {
  const text = place?.textContent.trim() ?? "";
  return text.startsWith(last) ? text.slice(last.length) : text;
}
