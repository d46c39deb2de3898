// The menu of a workspace: at its button, at the pointer, or below on a phone.

import { make } from "./panel/dom.js";
import { typedAhead } from "./verbs.js";

const MARGIN = 8;
const ENDS = { Home: 0, End: -1 };
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

export class Menu {
  #element = make("div", { class: "verbs", role: "menu", popover: "manual" });
  #onClose = null;

  constructor() {
    document.body.append(this.#element);
    const closeOutside = ({ target }) => !this.#element.contains(target) && this.close(false);
    for (const kind of ["pointerdown", "wheel"]) addEventListener(kind, closeOutside, { capture: true, passive: true });
    for (const kind of ["resize", "blur"]) addEventListener(kind, () => this.close(false));
    addEventListener("keydown", (event) => this.isOpen && this.#press(event), { capture: true });
  }

  get isOpen() {
    return this.#onClose !== null;
  }

  /**
   * @param {string} label @param {Entry[]} entries
   * @param {{left: number, top: number, bottom: number}} at the box in the window that it belongs to
   * @param {(name: string) => void} onChoose @param {() => void} onClose for who takes the focus back
   */
  open(label, entries, at, onChoose, onClose) {
    this.close(false);
    this.#onClose = onClose;
    const choose = (name) => () => {
      this.close();
      onChoose(name);
    };
    const items = entries.map(({ name, label: text, isDestructive }) =>
      make("button", { type: "button", role: "menuitem", tabindex: -1, class: isDestructive ? "danger" : null, onclick: choose(name) }, text),
    );
    this.#element.setAttribute("aria-label", label);
    this.#element.replaceChildren(...items);
    this.#element.showPopover();
    this.#place(at);
    items[0].focus();
  }

  close(withFocus = true) {
    const onClose = this.#onClose;
    if (!onClose) return;
    this.#onClose = null;
    this.#element.hidePopover();
    if (withFocus) onClose();
  }

  #place({ left, top, bottom }) {
    const { offsetWidth: width, offsetHeight: height, style } = this.#element;
    const below = bottom + height + MARGIN <= innerHeight ? bottom : top - height;
    style.setProperty("--left", `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`);
    style.setProperty("--top", `${Math.max(MARGIN, Math.min(below, innerHeight - height - MARGIN))}px`);
  }

  #press(event) {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...this.#element.children];
    const present = items.indexOf(document.activeElement);
    const letter = key.length === 1 && key !== " " ? typedAhead(items.map(({ textContent }) => textContent), key, present) : null;
    const next = ENDS[key] ?? (key in STEPS ? (present + STEPS[key]) % items.length : letter);
    if (["Escape", "Tab"].includes(key)) this.close();
    else if (next === null) return;
    else items.at(next === -1 && letter === -1 ? present : next).focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
