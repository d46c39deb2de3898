// What stands above the tabs: where the workspace is, its name, its state, since when and why, and what is wrong besides.

import { call } from "../api.js";
import { setText } from "../card.js";
import { refusalText, stateLabel } from "../states.js";
import { above } from "../tree.js";
import { LatestTask } from "../../../ui/latest_task.js";
import { moment, serverNow } from "../../../ui/time.js";
import { make, timeAgo } from "./dom.js";
import { BEGINNINGS, beginningOf, whyOf } from "./reasons.js";

/** So many events are read, because the newest may not begin a state. */
const EVENTS = 5;
const $ = (id) => document.getElementById(id);

const NOTES = {
  live: () => "",
  past: ({ travel }) => `As it was at ${moment(travel.shown.at)}. What only a live workspace has is not shown.`,
  absent: ({ travel }) => `It was not part of the organisation at ${moment(travel.shown.at)}.`,
  removed: () => "This workspace was removed. What you see is what was last known of it.",
};

export class Head {
  #reading = new LatestTask();
  #key = null;
  #beginning = null;
  #node = null;
  #mode = "live";

  constructor(options) {
    this.options = options;
  }

  /** @param {Node} node @param {"live"|"past"|"absent"|"removed"} mode @param {number|null} moment a position of the log */
  show(node, mode, moment) {
    Object.assign(this, { moment });
    this.#node = node;
    this.#mode = mode;
    const key = [node.id, mode, moment].join();
    if (key !== this.#key) {
      this.#key = key;
      this.#beginning = null;
      if (mode !== "absent") this.#read();
    }
    this.#render();
  }

  onEvent({ workspace_id, event }) {
    if (workspace_id === this.#node.id && this.#mode !== "past" && BEGINNINGS.includes(event)) this.#read();
  }

  tick() {
    const { workspace } = this.#node;
    const why = this.#mode === "absent" ? "" : whyOf({ workspace, state: this.#state }, this.#beginning, serverNow());
    setText($("panel-why"), why.split("\n")[0]);
    const refusal = this.#mode === "live" && workspace.last_refusal;
    $("panel-refusal").hidden = !refusal;
    setText($("panel-refusal"), refusal ? refusalText(refusal, serverNow()) : "");
  }

  get #state() {
    return this.#mode === "removed" ? "removed" : this.#node.state;
  }

  async #read() {
    const before = this.moment === null ? "" : `&before=${this.moment + 1}`;
    const path = `/events/${this.#node.id}?type=${BEGINNINGS}&limit=${EVENTS}${before}`;
    // Without an answer the state stands there without a time.
    const found = await this.#reading.run((signal) => call("GET", path, undefined, signal)).catch(() => null);
    if (!found) return;
    this.#beginning = beginningOf(found.value.data);
    this.#render();
  }

  #render() {
    const { workspace, id, isFlapping } = this.#node;
    const state = this.#state;
    this.#showPath();
    $("panel-head").dataset.id = id;
    setText($("panel-name"), workspace.name);
    $("panel-actions").hidden = !this.options.mayAct || this.#mode !== "live";
    $("panel-actions").setAttribute("aria-label", `Actions for ${workspace.name}`);
    $("panel-admin").href = `${document.body.dataset.workspaceAdmin}${id}/change/`;
    $("panel-status").hidden = this.#mode === "absent";
    $("panel-status").dataset.status = state;
    setText($("panel-word"), stateLabel(state));
    $("panel-flapping").hidden = !isFlapping || this.#mode !== "live";
    const since = this.#beginning?.created_at ?? null;
    if ($("panel-since").dataset.at !== String(since)) $("panel-since").replaceChildren(timeAgo(since) ?? "");
    $("panel-since").dataset.at = since;
    const note = NOTES[this.#mode](this.options);
    $("panel-note").hidden = !note;
    setText($("panel-note"), note);
    this.tick();
  }

  /** The teams that it is in, the outermost first. */
  #showPath() {
    const teams = [...above(this.#node)].reverse();
    const key = JSON.stringify(teams.map(({ id, workspace }) => [id, workspace.name]));
    if ($("panel-path").dataset.key === key) return;
    $("panel-path").dataset.key = key;
    const links = teams.map(({ id, workspace }) =>
      make("li", {}, make("button", { type: "button", class: "link", dir: "auto", onclick: () => this.options.onOpen(id) }, workspace.name)),
    );
    $("panel-path").replaceChildren(...links);
    $("panel-path").hidden = !links.length;
  }
}
