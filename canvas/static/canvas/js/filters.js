// Filter and search in the page: the counts of the header, which are buttons, the form with the other conditions, the
// address, and the palette, which finds workspaces among those that are shown, of the present or the past.

import { chip, setText } from "./card.js";
import { filterOf, fits, NO_FILTER, sizeOf, toggled, UNKNOWN, withFilter } from "./filtering.js";
import { make } from "./panel/dom.js";
import { countStates, stateLabel } from "./states.js";
import { addressWith } from "./time_travel.js";
import { above, pathOf } from "./tree.js";
import { rank } from "../../ui/matching.js";

const MARGIN = 8;
const $ = (id) => document.getElementById(id);
const form = $("filter");
const opener = $("filter-button");
const clearing = document.querySelectorAll(".clear-filter");
const addressed = () => filterOf(new URLSearchParams(location.search));

export class Filters {
  #tree = null;
  #shown = null;
  #palette = null;
  #isTyping = false;

  /** @param {TimeTravel} travel @param {Shell} shell @param {(id: string) => void} onFound called with the workspace that is chosen in the palette */
  constructor(store, travel, shell, onFound) {
    Object.assign(this, { store, travel, shell, onFound });
    store.dispatch({ type: "filter", filter: addressed() });
    $("counts").addEventListener("click", ({ target }) => {
      const state = target.closest("button")?.dataset.status;
      if (state) this.#set(toggled(store.state.filter, state));
    });
    form.addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.#open());
    form.elements.q.addEventListener("input", ({ target }) => {
      const { q } = filterOf(new URLSearchParams({ q: target.value }));
      // One entry of the history for all that is typed.
      this.#set({ q }, this.#isTyping ? "replaceState" : "pushState");
      this.#isTyping = true;
    });
    form.addEventListener("change", () => {
      this.#isTyping = false;
      const { status, ...others } = filterOf(new URLSearchParams(new FormData(form)));
      this.#set(others);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidePopover();
    });
    for (const button of clearing) button.addEventListener("click", () => this.#clear());
    for (const button of document.querySelectorAll(".search")) button.addEventListener("click", () => this.search());
    addEventListener("popstate", () => this.#popped());
  }

  /** @returns {boolean} whether the form was open */
  close() {
    const isOpen = form.matches(":popover-open");
    if (isOpen) form.hidePopover();
    return isOpen;
  }

  /** @param {Tree} tree @param {Node[]|null} matching see sift() */
  render(tree, matching) {
    const { filter } = this.store.state;
    this.#tree = tree;
    this.#count(filter.status.split(",").filter(Boolean));
    setText($("filter-share"), matching ? `${matching.length} of ${tree.nodes.size}` : "");
    $("no-match").hidden = matching?.length !== 0 || tree.nodes.size === 0;
    if (filter === this.#shown) return;
    this.#shown = filter;
    const size = sizeOf(filter);
    setText($("filter-size"), size ? `(${size})` : "");
    opener.setAttribute("aria-pressed", String(size > 0));
    for (const button of clearing) button.disabled = !size;
    this.#fill();
  }

  /** What is filtered by has a button although nothing is left of it. */
  #count(pressed) {
    const counts = countStates(this.#tree.nodes.values(), pressed);
    counts.delete("removed");
    const buttons = new Map([...$("counts").children].map((button) => [button.dataset.status, button]));
    [...counts].forEach(([state, n], at) => {
      const shown = chip(state, n);
      const button = buttons.get(state) ?? make("button", { type: "button", class: "chip", "data-status": state });
      buttons.delete(state);
      if (button.textContent !== shown.textContent) button.replaceChildren(...shown.childNodes);
      button.title = shown.title;
      button.setAttribute("aria-pressed", String(pressed.includes(state)));
      const { [at]: there = null } = $("counts").children;
      // One that is in its place is not moved, because that would take its focus.
      if (there !== button) $("counts").insertBefore(button, there);
    });
    for (const button of buttons.values()) button.remove();
  }

  /** @param {Partial<Filter>} changes */
  #set(changes, how = "pushState") {
    this.store.dispatch({ type: "filter", filter: { ...this.store.state.filter, ...changes } });
    this.#write(how);
  }

  // --- The palette -----------------------------------------------------------------------------------------

  async search() {
    if (this.#palette) return this.#palette.open();
    // At once: what is typed until the module is there must not be lost.
    if (!document.querySelector("dialog[open]")) $("palette").showModal();
    const module = await this.shell.loaded(import("../../ui/palette.js"));
    if (!module) return $("palette").close();
    const { MOST, Palette } = module;
    this.#palette ??= new Palette((text, show) => {
      const found = text ? [...this.#tree.nodes.values()].filter(({ workspace }) => fits(workspace, text)) : [];
      const ranked = found.map((node) => [rank(node.workspace.name, text) ?? 9, node]).sort(([a], [b]) => a - b);
      const hits = ranked.slice(0, MOST).map(([, node]) => this.#hit(node));
      const all = { name: `Filter by “${text}”`, path: [], href: addressWith("q", text), act: () => this.#set({ q: text }) };
      show(found.length > 1 ? [...hits, all] : hits);
    });
  }

  #hit(node) {
    const { id, workspace, state } = node;
    const { name, role } = workspace;
    const path = [...above(node)].map((lead) => lead.workspace.name).reverse();
    const word = make("span", { class: "status-word" }, stateLabel(state));
    const badge = make("span", { class: "status", "data-status": state }, make("i"), word);
    return { name, path, role, href: addressWith("ws", id), badge, act: () => this.onFound(id) };
  }

  // --- The form --------------------------------------------------------------------------------------------

  #open() {
    const nodes = [...(this.#tree?.nodes.values() ?? [])];
    const runtimes = new Set(nodes.map(({ workspace }) => workspace.runtime).filter(Boolean));
    const teams = nodes.filter(({ children }) => children.length).map((node) => [pathOf(node), node.id]);
    offer("runtime", [...[...runtimes].map((name) => [name, name]), ["Not known", UNKNOWN]]);
    offer("team", teams);
    this.#fill();
    const { left, bottom } = opener.getBoundingClientRect();
    const width = Math.min(344, innerWidth - 2 * MARGIN);
    form.style.top = `${bottom + MARGIN}px`;
    form.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`;
  }

  #fill() {
    for (const control of form.elements) {
      const value = this.store.state.filter[control.name];
      if (control.type === "checkbox") control.checked = value === control.value;
      // A space that is typed stays until the next word.
      else if (value !== undefined && control.value.trim() !== value) choose(control, value);
    }
  }

  /** The button that was pressed is off now. */
  #clear() {
    this.#set(NO_FILTER);
    if (!this.close()) $("view").focus();
  }

  // --- The address -----------------------------------------------------------------------------------------

  #write(how) {
    const address = new URL(location);
    address.search = withFilter(address.searchParams, this.store.state.filter);
    if (address.href !== location.href) history[how](history.state, "", address);
  }

  #popped() {
    // Who leaves the past by its button keeps the filter.
    if (!this.travel.isReturning) this.store.dispatch({ type: "filter", filter: addressed() });
    else if (!history.state?.past) this.#write("replaceState");
  }
}

/** @param {[string, string][]} choices labels and values */
function offer(name, choices) {
  const select = form.elements[name];
  const options = choices.sort(([a], [b]) => a.localeCompare(b)).map(([label, value]) => new Option(label, value));
  select.replaceChildren(select.options[0], ...options);
}

/** A value that is not offered, as of an old address, is shown as it is. */
function choose(control, value) {
  control.value = value;
  if (control.value === value || !control.options) return;
  control.add(new Option(value, value));
  control.value = value;
}
