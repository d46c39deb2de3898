// The palette of the admin and of the canvas: finds what the page offers, and workspaces.
//
// Links and buttons that are or are in [data-palette="<group>"] are offered, so that nothing is listed twice.
// templates/ui/palette.html is its markup.

import { best } from "./matching.js";

/** So many of each group. */
export const MOST = 12;
/** Groups in the order in which they are shown; those with other names come before the workspaces. */
const LAST = ["Workspaces", "Account"];
const FIRST = ["Actions", "Pages"];

/** What the page offers, by group. @returns {Map<string, {label: string, element: HTMLElement}[]>} */
function offered() {
  const groups = new Map();
  for (const element of document.querySelectorAll(":is([data-palette], [data-palette] *):is(a[href], button)")) {
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

/**
 * @typedef {Object} Hit a workspace that was found
 * @property {string} name @property {string[]} path the names above it @property {string} role
 * @property {string} href
 * @property {HTMLElement} [badge] its state
 * @property {() => void} [act] instead of following the link
 */
export class Palette {
  #groups = new Map();
  /** @type {Hit[]|null} null while they are searched for */
  #hits = [];
  #opensFirst = false;

  /** @param {(text: string, show: (hits: Hit[]|null, note?: string) => void) => void} find "": nothing is wanted any more */
  constructor(find) {
    this.find = find;
    this.dialog = document.getElementById("palette");
    [this.input, this.list, this.note] = ["input", "[role=listbox]", "[role=status]"].map((one) => this.dialog.querySelector(one));
    this.input.addEventListener("input", () => this.#typed());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("click", (event) => this.#clicked(event));
    // Moving, because options also come to lie below a pointer that rests.
    this.list.addEventListener("pointermove", ({ target }) => this.#select(target.closest("[role=option]")));
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => find("", () => {}));
    // Somebody types already.
    if (this.dialog.open) this.#begin();
  }

  open() {
    if (this.dialog.open) return this.dialog.close();
    if (document.querySelector("dialog[open]")) return;
    this.input.value = "";
    this.dialog.showModal();
    this.#begin();
  }

  #begin() {
    this.#groups = offered();
    this.#typed();
  }

  #typed() {
    this.#opensFirst = false;
    this.find(this.input.value.trim(), (hits, note = "") => {
      this.#hits = hits;
      this.#show(hits ? note : "Searching…");
      if (hits?.length && this.#opensFirst) this.#selected?.click();
    });
  }

  #show(note) {
    const text = this.input.value.trim();
    const groups = [...this.#groups].map(([title, entries]) => [title, best(entries, text, MOST).map(offer)]);
    groups.push(["Workspaces", (this.#hits ?? []).map(optionOf)]);
    const shown = groups.filter(([, options]) => options.length).sort(([a], [b]) => place(a) - place(b));
    this.list.replaceChildren(...shown.map(([title, options], n) => group(title, options, n)));
    this.#options.forEach((option, n) => (option.id = `palette-option-${n}`));
    this.list.hidden = !this.#options.length;
    this.note.textContent = note || (this.#options.length ? "" : `No match for “${text}”.`);
    this.#select(this.#options[0]);
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
    if (this.#hits) this.#typed();
    this.#opensFirst = !this.#hits;
  }

  #clicked(event) {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    this.dialog.close();
    if (!option.act || (option.href && (event.ctrlKey || event.metaKey))) return;
    event.preventDefault();
    option.act();
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

function optionOf({ name, path, role, href, badge, act }) {
  const option = link(href, name);
  option.firstChild.dir = "auto";
  option.act = act;
  const below = path.length ? path.join(" / ") : role;
  if (below) option.append(element("small", { textContent: below, dir: "auto" }));
  if (badge) option.append(badge);
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
