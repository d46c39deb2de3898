// Verbs on workspaces: their menu, the question before what affects a team or cannot be undone, and what came of it.

import { ApiError, call } from "./api.js";
import { ask } from "./asking.js";
import { Menu } from "./menu.js";
import { make } from "./panel/dom.js";
import { stateLabel } from "./states.js";
import { affectedBy, countIn, entriesFor, mustAsk, sentence, wordOf } from "./verbs.js";

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
