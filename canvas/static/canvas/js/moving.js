// Moving cards: to another place, or to another team, by drag, by keys and by "Move to…"; and moving them back.

import { ApiError, call, soon } from "./api.js";
import { ask } from "./asking.js";
import { TEXT } from "./keys.js";
import { isPlaced, placeInTeam } from "./layout.js";
import { make } from "./panel/dom.js";
import { above } from "./tree.js";
import { targetsFor } from "./verbs.js";
import { best } from "../../ui/matching.js";

const MOST_TARGETS = 100;

export class Moving {
  /** What is dragged: { id, name, at } */
  #held = null;
  /** The moves of this page that can be undone, the last one last. */
  #moves = [];

  /**
   * @param {object} options
   * @param {Store} options.store @param {Scene} options.scene
   * @param {() => boolean} options.mayMove
   * @param {() => void} options.render
   * @param {typeof Shell.prototype.toast} options.toast
   */
  constructor(options) {
    Object.assign(this, options);
    document.addEventListener("keydown", (event) => {
      const isOthers = event.target.closest(TEXT) || document.querySelector("dialog[open]");
      if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || isOthers) return;
      event.preventDefault();
      this.undo();
    });
  }

  // --- Places ----------------------------------------------------------------------------------------------

  nudge(id, dx, dy) {
    const node = this.#find(id);
    if (!this.mayMove() || !node) return;
    // Where it is shown: beside its saved place, if another card has grown over that.
    const from = node.parent ? placeInTeam(node) : this.scene.placement.places.get(id);
    const changes = this.#place(id, { x: Math.round(from.x + dx), y: Math.round(from.y + dy) });
    soon(id, () => this.#save(id, changes));
  }

  /** Places a card, a member inside its team, and follows it with the camera. */
  #place(id, at) {
    const changes = placeable(at);
    this.store.dispatch({ type: "change", id, changes });
    this.render();
    const node = this.#find(id);
    if (node) this.scene.reveal(node);
    return changes;
  }

  async #save(id, changes) {
    let kept = true;
    try {
      await call("PATCH", `/workspaces/${id}`, changes);
    } catch (failure) {
      kept = false;
      const { name } = this.store.state.workspaces.get(id) ?? { name: "the workspace" };
      this.toast(`Could not save the layout of ${name}: ${failure.message}`);
    }
    this.store.dispatch({ type: "saved", id, changes, kept });
  }

  // --- Dragging --------------------------------------------------------------------------------------------

  /** @param {{x, y}} at on the canvas @param {PointerEvent} pointer */
  drag(id, at, pointer) {
    const node = this.#find(id);
    if (!node) return;
    this.#held = { id, name: node.workspace.name, at };
    this.scene.hold(node, at);
    const { team, word } = this.#aim(node, pointer);
    this.scene.mark(id, word, team?.id);
  }

  /** What has changed on the page does not move what is dragged. */
  update() {
    if (!this.#held) return;
    const { id, name, at } = this.#held;
    const node = this.#find(id);
    if (node) return this.scene.hold(node, at);
    this.#held = null;
    this.toast(`${name} was removed while it was moved.`);
  }

  /** @param {PointerEvent} [pointer] none where the drag was cancelled */
  async drop(id, at, pointer) {
    this.scene.mark();
    const node = this.#find(id);
    if (!node || !pointer) return this.#release(id);
    const { team, word } = this.#aim(node, pointer);
    const { parent } = node;
    const free = parent && !word ? placeInTeam(node, at, this.scene.boxOf(parent)) : this.scene.placement.freePlace(node, at);
    if (word) {
      const isDone = await this.#ask(node, team, team ? NO_PLACE : placeable(free));
      this.#release(id);
      if (isDone) this.#show(id);
    } else {
      this.#release(id);
      this.#save(id, this.#place(id, free));
    }
  }

  #release(id) {
    this.#held = null;
    this.scene.release(this.#find(id));
    this.render();
  }

  /** Where a card would go: into a team, to the top level, or (without a word) nowhere but to another place. */
  #aim(node, { clientX, clientY }) {
    const team = this.scene.nodeAt(clientX, clientY, node);
    if (team === node.parent) return { team, word: "" };
    return { team, word: team ? `Move into ${team.workspace.name}` : "Move to the top level" };
  }

  // --- Other teams -----------------------------------------------------------------------------------------

  #ask(node, team, place) {
    return ask({
      describe: () => ({ title: `Move ${node.workspace.name} ${toText(team)}?`, text: consequenceFor(node), verb: "Move" }),
      run: () => this.#move(node, team, place),
    });
  }

  /** The dialog "Move to…". */
  choose(id) {
    const node = this.#find(id);
    if (!node) return;
    const picker = pickerOf((text) => best(targetsFor(node, this.scene.tree.nodes.values()), text, MOST_TARGETS));
    ask({
      describe: () => ({ title: `Move ${node.workspace.name} to…`, text: consequenceFor(node), content: picker.element, verb: "Move" }),
      run: () => {
        const target = picker.chosen();
        if (!target) throw new ApiError(0, "Nothing of that name can be chosen.");
        return this.#move(node, target.node, NO_PLACE);
      },
    }).then((isDone) => isDone && this.#show(id));
  }

  /** @param {Node|null} team null for the top level @param {{x, y}} place there */
  async #move({ id, workspace }, team, place) {
    const { updated_at: before, x, y } = workspace;
    const changes = { parent_id: team?.id ?? null, ...place };
    const { data } = await call("PATCH", `/workspaces/${id}`, changes);
    // Unless an event has told it already, or what somebody else has done since.
    if (this.store.state.workspaces.get(id)?.updated_at === before) {
      this.store.dispatch({ type: "change", id, changes });
      this.store.dispatch({ type: "saved", id, changes, kept: true });
    }
    const { event_ids } = data;
    const move = { id, name: workspace.name, event_ids, place: { x, y } };
    // None where it is there already.
    if (event_ids) this.#moves.push(move);
    const done = `Moved ${workspace.name} ${toText(team)}.`;
    this.toast(done, { isDone: true, button: event_ids && "Undo", run: () => this.undo(move) });
  }

  /** Focuses it where it is now, or the folded team that it is in. */
  #show(id) {
    const node = this.#find(id);
    const shown = node && [node, ...above(node)].find((one) => this.scene.tree.position(one.id) >= 0);
    if (shown) this.scene.focus(shown);
  }

  async undo(move = this.#moves.at(-1)) {
    if (!this.mayMove()) return;
    if (!this.#moves.includes(move)) return this.toast("There is no move to undo.", { isDone: true });
    const { id, name, event_ids, place } = move;
    this.#moves = this.#moves.filter((one) => one !== move);
    try {
      await call("POST", `/workspaces/${id}/undo`, { event_ids });
      this.#save(id, place);
      this.toast(`Moved ${name} back.`, { isDone: true });
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      // Without an answer it can be tried again.
      if (!failure.status) this.#moves.push(move);
      this.toast(`Not undone: ${failure.message}`);
    }
  }

  #find(id) {
    return this.scene.tree.nodes.get(id);
  }
}

/** The server takes 0, 0 for "not placed": the card is laid out with the others. */
const NO_PLACE = { x: 0, y: 0 };
const placeable = (at) => (isPlaced(at) ? at : { x: 1, y: 0 });

const consequenceFor = ({ size }) => (size ? `Its team of ${size} goes along. ` : "") + "Whom it may talk to changes at once.";

const toText = (team) => (team ? `into ${team.workspace.name}` : "to the top level");

/** A field and what fits it. @param {(text: string) => Target[]} find */
function pickerOf(find) {
  let [targets, at] = [[], 0];
  const list = make("ul", { id: "targets", role: "listbox", "aria-label": "Teams" });
  const input = make("input", {
    type: "search", role: "combobox", autofocus: true, autocomplete: "off", "aria-label": "Team", "aria-controls": "targets", "aria-expanded": "true",
    placeholder: "Search teams and workspaces", oninput: show,
    onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || !targets.length) return;
      event.preventDefault();
      mark((at + step + targets.length) % targets.length);
    },
  });

  function show() {
    targets = find(input.value);
    list.replaceChildren(
      ...targets.map(({ label }, n) => make("li", { id: `target-${n}`, role: "option", dir: "auto", onclick: () => mark(n) }, label)),
    );
    mark(0);
  }

  function mark(n) {
    at = n;
    [...list.children].forEach((option, position) => option.setAttribute("aria-selected", String(position === n)));
    list.children[n]?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", list.children[n]?.id ?? "");
  }

  show();
  return { element: make("div", { class: "picker" }, input, list), chosen: () => targets[at] };
}
