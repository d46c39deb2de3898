// Positions of the top-level cards: their saved place, or one arranged around the saved ones.

import { arrange, isPlaced, nearestFree } from "./layout.js";

export class Placement {
  #roots = [];
  #arranged = new Map();
  #observed = new Set();
  #held = null;
  #kept = null;
  #resized;

  /** `onFirst` runs once, after the first cards are positioned. */
  constructor(board, isCanvas, onFirst) {
    this.board = board;
    this.isCanvas = isCanvas;
    this.onFirst = onFirst;
    // It fires after layout and before paint: reading sizes costs nothing, and no card is painted without a place.
    this.#resized = new ResizeObserver(() => this.settle());
  }

  /** @param {import("./layout.js").Node[]} roots the top-level cards on the board */
  update(roots) {
    this.#roots = roots.map(({ workspace }) => workspace);
    const elements = new Set(this.#roots.map(({ id }) => this.board.element(id)));
    for (const element of this.#observed) if (!elements.has(element)) this.#resized.unobserve(element);
    for (const element of elements) if (!this.#observed.has(element)) this.#resized.observe(element);
    this.#observed = elements;
    for (const root of this.#roots) if (isPlaced(root)) this.#show(root.id, root);
  }

  settle() {
    if (!this.isCanvas() || !this.#roots.length) return;
    const items = this.#roots.map((root) => ({ id: root.id, ...this.#size(root.id), ...(isPlaced(root) && at(root)) }));
    this.#arranged = arrange(items, new Map([...(this.#kept ?? []), ...this.#arranged]));
    for (const [id, place] of this.#arranged) this.#show(id, place);
    this.onFirst?.();
    this.onFirst = null;
  }

  /** Remembers the current arrangement until restore(), while the past is shown. */
  keep() {
    this.#kept = this.#arranged;
  }

  restore() {
    this.#arranged = this.#kept;
    this.#kept = null;
    this.settle();
  }

  /** The rectangles of the top-level cards, in canvas coordinates. */
  boxes() {
    return this.#roots.map((root) => this.#box(root));
  }

  placeOf(id) {
    if (this.#held?.id === id) return at(this.#held);
    return this.#arranged.get(id) ?? at(this.#roots.find((root) => root.id === id));
  }

  isRoot(id) {
    return this.#roots.some((root) => root.id === id);
  }

  /** Where a card dropped at a place goes: there, or beside the cards that it would cover. */
  freePlace(id, place) {
    const others = this.#roots.filter((root) => root.id !== id);
    return nearestFree({ ...place, ...this.#size(id) }, others.map((root) => this.#box(root)));
  }

  /** Moves a card with the pointer; until release() nothing else moves it. */
  hold(id, { x, y }) {
    this.#held = { id, x, y };
    draw(this.board.element(id), this.#held);
  }

  release() {
    const id = this.#held?.id;
    this.#held = null;
    if (id && this.isRoot(id)) this.#show(id, this.placeOf(id));
  }

  #show(id, place) {
    if (this.#held?.id !== id) draw(this.board.element(id), place);
  }

  #box({ id }) {
    return { ...this.placeOf(id), ...this.#size(id) };
  }

  #size(id) {
    const { offsetWidth: width, offsetHeight: height } = this.board.element(id);
    return { width, height };
  }
}

const at = ({ x, y }) => ({ x, y });

function draw(element, { x, y }) {
  element.style.transform = `translate(${x}px, ${y}px)`;
}
