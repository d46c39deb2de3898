// The panel of one workspace, beside the view or over it: opens and closes, its address, its tabs, the focus.

import { ApiError } from "./api.js";
import { Head } from "./panel/head.js";
import { failed, loading } from "./panel/reading.js";
import { addressWith } from "./time_travel.js";
import { refreshAges } from "../../ui/ages.js";

const FIRST = "overview";
const TABS = {
  overview: () => import("./panel/overview.js"),
  activity: () => import("./panel/activity.js"),
  events: () => import("./panel/events.js"),
  files: () => import("./panel/files.js"),
  secrets: () => import("./panel/secrets.js"),
  access: () => import("./panel/access.js"),
  connect: () => import("./panel/connect.js"),
};
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
/** Over the view, where it does not fit beside it; as in panel.css. */
const sheet = matchMedia("(max-width: 899px)");
const UNREACHABLE = new ApiError(0, "the server cannot be reached");
const $ = (id) => document.getElementById(id);

export class Panel {
  /** What is open: the id of the workspace, the tab that was asked for, and the answer that has its new enrolment token, if any. */
  #open = null;
  #node = null;
  /** The tab that is shown, for which workspace and moment. */
  #key = null;
  #content = null;

  /**
   * @param {object} options
   * @param {boolean} options.mayAct
   * @param {TimeTravel} options.travel
   * @param {(id: string) => Node|undefined} options.find the workspace as it is shown
   * @param {(id: string) => void} options.onOpen the view has its new size, and shows the card
   * @param {(id: string) => void} options.focusCard
   * @param {(id: string) => string} options.nameOf
   */
  constructor(options) {
    this.options = options;
    this.head = new Head({ ...options, onOpen: (id) => this.open(id) });
    this.tabs = [...$("panel-tabs").children];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.#choose(tab));
    $("panel-tabs").addEventListener("keydown", (event) => this.#press(event));
    $("panel").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.target.closest("dialog, [popover]")) return;
      event.preventDefault();
      this.close();
    });
    $("panel-close").addEventListener("click", () => this.close());
    sheet.addEventListener("change", () => this.#cover());
    addEventListener("popstate", () => this.#popped());
  }

  get id() {
    return this.#open?.id ?? null;
  }

  /** @returns {boolean} whether there is such a workspace */
  open(id, tab = FIRST, { isAddressed = false, withFocus = false, issued = null } = {}) {
    const node = this.options.find(id);
    if (!node) return false;
    this.#open = { id, tab: this.#tab(tab) ? tab : FIRST, issued };
    this.#node = node;
    if (!isAddressed) this.#write("pushState");
    $("panel").hidden = false;
    this.#cover();
    this.update();
    this.options.onOpen(id);
    if (withFocus || sheet.matches) this.#focusTab();
    return true;
  }

  /** @returns {boolean} whether it was open */
  close({ isAddressed = false } = {}) {
    if (!this.#open) return false;
    const { id } = this.#open;
    const hadFocus = $("panel").contains(document.activeElement) || document.activeElement === document.body;
    this.#open = this.#node = null;
    this.#unmount();
    if (!isAddressed) this.#write("pushState");
    $("panel").hidden = true;
    this.#cover();
    if (hadFocus) this.options.focusCard(id);
    return true;
  }

  /** Shows what the address says. @returns {boolean} whether it names a workspace that is not there */
  followAddress() {
    const { id, tab } = addressed();
    if (!id) this.close({ isAddressed: true });
    return Boolean(id) && !this.open(id, tab, { isAddressed: true });
  }

  /** The workspaces, or the moment that is shown, have changed. */
  update() {
    if (!this.#open) return;
    const { id, tab } = this.#open;
    const node = this.options.find(id);
    this.#node = node ?? this.#node;
    const { shown } = this.options.travel;
    const mode = shown ? (node ? "past" : "absent") : node ? "live" : "removed";
    const moment = shown?.seq ?? null;
    this.head.show(this.#node, mode, moment);
    const chosen = this.#showTabs(tab, mode);
    const key = [id, chosen, mode, moment].join();
    if (key !== this.#key) this.#mount(key, chosen, { mode, moment });
    this.#content?.update?.(this.#node);
  }

  onEvent(event) {
    if (!this.#open) return;
    this.head.onEvent(event);
    this.#content?.onEvent?.(event);
  }

  tick() {
    if (!this.#open) return;
    refreshAges($("panel"));
    this.head.tick();
  }

  // --- Tabs ------------------------------------------------------------------------------------------------

  #tab(name) {
    return this.tabs.find(({ dataset }) => dataset.tab === name);
  }

  /** Marks the chosen tab; what only a live workspace has cannot be chosen for others. @returns {string} its name */
  #showTabs(wanted, mode) {
    for (const tab of this.tabs) tab.setAttribute("aria-disabled", String(mode !== "live" && "live" in tab.dataset));
    const chosen = isOffered(this.#tab(wanted)) ? wanted : FIRST;
    for (const tab of this.tabs) {
      const isChosen = tab.dataset.tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    $("panel-body").setAttribute("aria-labelledby", `tab-${chosen}`);
    return chosen;
  }

  #choose(tab) {
    if (!isOffered(tab)) return;
    this.#open.tab = tab.dataset.tab;
    this.#write("replaceState");
    this.update();
  }

  #press(event) {
    const offered = this.tabs.filter(isOffered);
    const at = offered.indexOf(event.target);
    const ends = { Home: 0, End: offered.length - 1 };
    const next = ends[event.key] ?? (at + STEPS[event.key] + offered.length) % offered.length;
    if (Number.isNaN(next) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    offered[next].focus();
    this.#choose(offered[next]);
  }

  #focusTab() {
    this.tabs.find((tab) => tab.tabIndex === 0).focus();
  }

  async #mount(key, tab, context) {
    this.#unmount();
    this.#key = key;
    this.#tab(tab).scrollIntoView({ block: "nearest", inline: "nearest" });
    const body = $("panel-body");
    body.replaceChildren(loading());
    const { id, issued } = this.#open;
    const module = await TABS[tab]().catch(() => null);
    if (key !== this.#key) return;
    if (!module) return body.replaceChildren(failed(UNREACHABLE, () => this.#mount(key, tab, context)));
    body.replaceChildren();
    this.#content = module.show(body, { ...this.options, ...context, id, issued, node: this.#node, open: (other, tab) => this.open(other, tab) });
    this.#content.update?.(this.#node);
  }

  /** What was shown may be a token, and what was typed a secret: neither stays in the page. */
  #unmount() {
    this.#content?.close?.();
    this.#content = this.#key = null;
    $("panel-body").replaceChildren();
  }

  /** A sheet leaves nothing beside it that could be reached. */
  #cover() {
    $("view").inert = sheet.matches && this.#open !== null;
  }

  // --- The address -----------------------------------------------------------------------------------------

  #write(how) {
    const { id = null, tab = FIRST } = this.#open ?? {};
    const address = addressWith("tab", tab === FIRST ? null : tab, addressWith("ws", id));
    if (address.href !== location.href) history[how](history.state, "", address);
  }

  #popped() {
    // Who leaves the past by its button keeps the panel.
    if (this.options.travel.isReturning) {
      if (!history.state?.past) this.#write("pushState");
      return;
    }
    if (this.followAddress()) this.close({ isAddressed: true });
  }
}

const isOffered = (tab) => tab !== undefined && tab.getAttribute("aria-disabled") !== "true";

/** The workspace and the tab of the address. */
export function addressed() {
  const query = new URLSearchParams(location.search);
  return { id: query.get("ws")?.trim().toLowerCase() || null, tab: query.get("tab") ?? FIRST };
}
