// The palette: Ctrl-K, / or the box in the top bar. It finds what the page offers, and workspaces by GET /search.
//
// Links and buttons in [data-palette="<group>"] are offered, so that nothing is listed twice. templates/ui/palette.html
// is its markup; the dialog's data says where to search and what the address of a workspace is.

import { LatestTask } from "./latest_task.js";
import { best } from "./matching.js";
import { serverNow } from "./time.js";
import { stateOf } from "./workspaces.js";

const MOST = 12;
const REST_MS = 120;
const TIMEOUT_MS = 10000;
/** Groups in the order in which they are shown; those with other names come before the workspaces. */
const LAST = ["Workspaces", "Account"];
const FIRST = ["Actions", "Pages"];
const NO_WORKSPACE = "00000000-0000-0000-0000-000000000000";
const REFUSED = {
  401: "Your session has ended. Load the page again to log in.",
  403: "Your account may not view workspaces.",
};

/** What the page offers, by group. @returns {Map<string, {label: string, element: HTMLElement}[]>} */
function offered() {
  const groups = new Map();
  for (const element of document.querySelectorAll("[data-palette] :is(a[href], button)")) {
    if (element.matches(":disabled, [hidden], [popovertarget]")) continue;
    const { palette } = element.closest("[data-palette]").dataset;
    const label = labelOf(element);
    const group = groups.get(palette) ?? groups.set(palette, []).get(palette);
    if (label && !group.some((other) => other.label === label)) group.push({ label, element });
  }
  return groups;
}

/** Its own words, without those of counts and marks in it. */
export function labelOf(element) {
  const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data);
  return (own.join(" ").trim() || element.ariaLabel || element.textContent).trim();
}

class Palette {
  #latest = new LatestTask();
  #groups = new Map();
  #hits = [];
  #isSearching = false;
  #opensFirst = false;

  constructor(dialog) {
    this.dialog = dialog;
    [this.input, this.list, this.note] = ["input", "[role=listbox]", "[role=status]"].map((one) => dialog.querySelector(one));
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("click", (event) => this.#clicked(event));
    // Moving, because options also come to lie below a pointer that rests.
    this.list.addEventListener("pointermove", ({ target }) => this.#select(target.closest("[role=option]")));
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.#latest.cancel());
  }

  open() {
    if (this.dialog.open) return this.dialog.close();
    if (document.querySelector("dialog[open]")) return;
    this.#groups = offered();
    this.input.value = "";
    this.dialog.showModal();
    this.#typed();
  }

  async #typed() {
    const text = this.input.value.trim();
    const { search } = this.dialog.dataset;
    this.#hits = [];
    this.#opensFirst = false;
    this.#isSearching = Boolean(search && text);
    this.#latest.cancel();
    this.#show(this.#isSearching ? "Searching…" : "");
    if (!this.#isSearching) return;
    try {
      const found = await this.#latest.run((signal) => this.#search(text, signal), REST_MS);
      if (!found) return;
      this.#hits = found.value;
      this.#isSearching = false;
      this.#show("");
      if (this.#opensFirst) this.#selected?.click();
    } catch (failure) {
      this.#isSearching = false;
      this.#show(`The search failed: ${failure.message}`);
    }
  }

  async #search(text, aborted) {
    const { search } = this.dialog.dataset;
    const signal = AbortSignal.any([aborted, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await fetch(`${search}?${new URLSearchParams({ q: text, limit: MOST })}`, { signal }).catch((failure) => {
      throw new Error(failure.name === "TimeoutError" ? "the server did not answer in time." : "the server cannot be reached.");
    });
    if (!response.ok) throw new Error(REFUSED[response.status] ?? `the server answered ${response.status}.`);
    return (await response.json()).workspaces;
  }

  #show(note) {
    const text = this.input.value.trim();
    const groups = [...this.#groups].map(([title, entries]) => [title, best(entries, text, MOST).map(offer)]);
    groups.push(["Workspaces", this.#workspaces(text)]);
    const shown = groups.filter(([, options]) => options.length).sort(([a], [b]) => place(a) - place(b));
    this.list.replaceChildren(...shown.map(([title, options], n) => group(title, options, n)));
    this.#options.forEach((option, n) => (option.id = `palette-option-${n}`));
    this.list.hidden = !this.#options.length;
    this.note.textContent = note || (this.#options.length ? "" : `No match for “${text}”.`);
    this.#select(this.#options[0]);
  }

  #workspaces(text) {
    const { workspace, list } = this.dialog.dataset;
    const options = this.#hits.map((hit) => workspaceOption(hit, workspace.replace(NO_WORKSPACE, hit.id)));
    if (list && options.length === MOST) {
      options.push(link(`${list}?${new URLSearchParams({ q: text })}`, `All workspaces with “${text}”`));
    }
    return options;
  }

  get #options() {
    return [...this.list.querySelectorAll("[role=option]")];
  }

  get #selected() {
    return this.list.querySelector("[aria-selected=true]");
  }

  #select(option) {
    if (option === null) return;
    this.#selected?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
    this.input.setAttribute("aria-expanded", String(Boolean(option)));
  }

  #key(event) {
    const { key, ctrlKey, metaKey } = event;
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (!step && key !== "Enter") return;
    event.preventDefault();
    if (step) this.#select(stepped(this.#options, this.#selected, step));
    else if (!this.#selected) this.#enterTooEarly();
    else if ((ctrlKey || metaKey) && this.#selected.href) open(this.#selected.href);
    else this.#selected.click();
  }

  /** Enter before the answer opens its first hit; after a failure it tries again. */
  #enterTooEarly() {
    if (!this.#isSearching) this.#typed();
    this.#opensFirst = this.#isSearching;
  }

  #clicked({ target }) {
    const option = target.closest("[role=option]");
    if (!option) return;
    this.dialog.close();
    option.act?.();
  }
}

/** The next option in that direction; behind the last follows the first. */
export function stepped(options, selected, step) {
  const at = options.indexOf(selected);
  return options.at((at + step) % options.length) ?? null;
}

const place = (title) => (FIRST.includes(title) ? FIRST.indexOf(title) - FIRST.length : 1 + LAST.indexOf(title));

function group(title, options, n) {
  const [box, heading] = [element("div", { role: "group" }), element("div", { className: "palette-group", id: `palette-group-${n}` })];
  heading.textContent = title;
  box.setAttribute("aria-labelledby", heading.id);
  box.append(heading, ...options);
  return box;
}

/** Acts by a click on the page's own link or button. */
function offer({ label, element: source }) {
  const option = source.href ? link(source.href, label) : choice(element("div"), label);
  if (!source.href) option.act = () => source.click();
  if (source.dataset.key) option.append(keyHint(source.dataset.key));
  return option;
}

function workspaceOption({ name, path, role, ...workspace }, url) {
  const option = link(url, name);
  option.firstChild.dir = "auto";
  const below = path.length ? path.join(" / ") : role;
  if (below) option.append(element("small", { textContent: below, dir: "auto" }));
  const state = stateOf(workspace, serverNow());
  const badge = document.getElementById("live-badges")?.content.querySelector(`[data-state="${state}"]`);
  if (badge) option.append(badge.firstElementChild.cloneNode(true));
  return option;
}

const link = (href, label) => choice(element("a", { href }), label);

function choice(option, label) {
  option.role = "option";
  option.tabIndex = -1;
  option.className = "palette-option";
  option.setAttribute("aria-selected", "false");
  option.append(element("span", { textContent: label }));
  return option;
}

export function keyHint(keys) {
  const hint = element("span", { className: "keys" });
  hint.append(...keys.split(" ").flatMap((key) => [element("kbd", { textContent: key }), " "]));
  return hint;
}

const element = (name, properties = {}) => Object.assign(document.createElement(name), properties);

/** @returns {(() => void)|null} what opens the palette; null on a page without one */
export function startPalette() {
  const dialog = document.getElementById("palette");
  if (!dialog) return null;
  const palette = new Palette(dialog);
  const show = () => palette.open();
  document.getElementById("find-form")?.setAttribute("hidden", "");
  const button = document.getElementById("find");
  button.hidden = false;
  button.addEventListener("click", show);
  if (/^(Mac|iP)/.test(navigator.platform)) button.querySelector("kbd").textContent = "⌘ K";
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    show();
  });
  return show;
}
