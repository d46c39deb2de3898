// Verbs on workspaces: their menu, the question before what affects a team or cannot be undone, and what came of it.

import { ApiError, call } from "./api.js";
import { button, make } from "./panel/dom.js";
import { stateLabel } from "./states.js";
import { affectedBy, countIn, entriesFor, mustAsk, sentence, typedAhead, wordOf } from "./verbs.js";

/** So many are listed; the others are counted. */
const MOST_LISTED = 300;
const CHANGED = "The team has changed since it was listed. Check the new list and confirm again.";

const counted = (count) => `${count} workspace${count === 1 ? "" : "s"}`;

export class Acting {
  #menu = new Menu();
  #id = null;

  /**
   * @param {object} options
   * @param {Verb[]} options.verbs
   * @param {() => boolean} options.mayAct now
   * @param {(id: string) => Node|undefined} options.find
   * @param {(id: string) => void} options.focus the card
   * @param {typeof Shell.prototype.toast} options.toast
   * @param {Object<string, (id: string) => void>} options.run what is done by others: open, fold, add, move
   */
  constructor(options) {
    Object.assign(this, options);
  }

  /** @param {{left, top, bottom}} at see Menu.open() @param {HTMLElement} [opener] takes the focus back, else the card */
  openMenu(id, at, opener) {
    const node = this.find(id);
    if (!node) return;
    const entries = entriesFor(node, this.mayAct() ? this.verbs : []);
    this.#id = id;
    const onClose = () => (opener ? opener.focus() : this.focus(id));
    this.#menu.open(`Actions for ${node.workspace.name}`, entries, at, (name) => this.#choose(name, id), onClose);
  }

  /** What is shown has changed. */
  update() {
    if (this.#menu.isOpen && !this.find(this.#id)) this.#menu.close();
  }

  #choose(name, id) {
    if (this.run[name]) this.run[name](id);
    else this.#act(this.#verb(name), id);
  }

  #verb(name) {
    return this.verbs.find((verb) => verb.name === name);
  }

  async #act(verb, id) {
    const node = this.find(id);
    if (!node) return;
    if (mustAsk(verb, affectedBy(verb, node))) return this.#ask(verb, node);
    try {
      await this.#send(verb, node, 1);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      this.toast(`${verb.title} ${node.workspace.name}: ${failure.message}`);
    }
  }

  #ask(verb, node) {
    let listed = [];
    const affected = () => (this.find(node.id) === node ? affectedBy(verb, node) : []);
    const describe = () => {
      listed = affected();
      const count = listed.length;
      if (!count) return { title: `${verb.title}: ${node.workspace.name}`, text: "There is nothing to do any more." };
      const word = wordOf(verb);
      return {
        title: `${sentence(word, verb, node, count)}?`,
        text: verb.consequence,
        content: count > 1 ? listOf(listed) : null,
        verb: `${word} ${counted(count)}`,
      };
    };
    const run = async () => {
      const now = affected();
      if (!now.length) throw new ApiError(0, `Nothing was changed: ${this.find(node.id) ? verb.why_not : "removed meanwhile"}.`);
      if (now.length !== listed.length || now.some((one, n) => one !== listed[n])) throw new ApiError(0, CHANGED);
      await this.#send(verb, node, now.length);
    };
    ask({ describe, run, isDestructive: verb.destructive });
  }

  async #send(verb, node, expected) {
    const { data } = await call(verb.method, verb.path.replace("{id}", node.id));
    const done = sentence(verb.past_tense, verb, node, countIn(data, expected));
    const opposite = this.#verb(verb.opposite);
    this.toast(`${done}.`, { isDone: true, button: opposite?.title, run: () => this.#act(opposite, node.id) });
  }
}

function listOf(nodes) {
  const items = nodes.slice(0, MOST_LISTED).map(({ workspace, state }) =>
    make("li", {}, make("span", { dir: "auto" }, workspace.name), make("small", {}, stateLabel(state))),
  );
  const more = nodes.length - items.length;
  return make("ul", { tabindex: 0, "aria-label": counted(nodes.length) }, items, more > 0 && make("li", {}, `and ${more} more`));
}

// --- The menu: at its button, at the pointer, or below on a phone ------------------------------------------

const MARGIN = 8;
const ENDS = { Home: 0, End: -1 };
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

class Menu {
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

// --- A question, in which stays what the server refuses ----------------------------------------------------

/**
 * @param {object} options
 * @param {() => {title: string, text: string, content?: HTMLElement, verb?: string}} options.describe asked again after a
 *   failure; without `verb` there is nothing to do any more
 * @param {() => Promise<void>} options.run raises ApiError
 * @param {boolean} [options.isDestructive]
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ describe, run, isDestructive }) {
  return new Promise((resolve) => {
    const title = make("h2", { id: "asking-title", dir: "auto" });
    const text = make("p", { dir: "auto" });
    const content = make("div");
    const problem = make("p", { class: "dialog-problem", role: "alert", hidden: true });
    const submit = make("button", { class: `button ${isDestructive ? "danger" : "primary"}`, type: "submit" });
    const cancel = button("Cancel", () => dialog.close(), { class: "button", autofocus: true });
    const form = make("form", { onsubmit }, title, text, content, problem, make("div", { class: "dialog-buttons" }, cancel, submit));
    const dialog = make("dialog", { class: "asking", "aria-labelledby": "asking-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    show();
    dialog.showModal();

    function show() {
      const now = describe();
      title.textContent = now.title;
      text.textContent = now.text;
      content.replaceChildren(now.content ?? "");
      submit.textContent = now.verb;
      submit.hidden = !now.verb;
    }

    async function onsubmit(event) {
      event.preventDefault();
      submit.disabled = true;
      problem.hidden = true;
      try {
        await run();
        dialog.close("done");
      } catch (failure) {
        if (!(failure instanceof ApiError)) throw failure;
        show();
        problem.textContent = failure.message;
        problem.hidden = false;
      } finally {
        submit.disabled = false;
      }
    }
  });
}
