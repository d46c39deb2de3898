// Where root cards lie on the canvas: at their own place, or arranged around those that have one.

import { arrange, isPlaced } from "./layout.js";

export class Placement {
  #roots = [];
  #arranged = new Map();
  #observed = new Set();
  #held = null;
  #kept = null;
  #resized;

  /** `onFirst` runs once, when the first cards lie where they belong. */
  constructor(board, isCanvas, onFirst) {
    this.board = board;
    this.isCanvas = isCanvas;
    this.onFirst = onFirst;
    // It reports after layout and before paint: sizes are free to read, and no card is ever seen unplaced.
    this.#resized = new ResizeObserver(() => this.settle());
  }

  /** @param {import("./layout.js").Node[]} roots that the board shows */
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

  /** Other cards come for a while: remember where the present ones lie. */
  keep() {
    this.#kept = this.#arranged;
  }

  restore() {
    this.#arranged = this.#kept;
    this.#kept = null;
    this.settle();
  }

  /** The roots' rectangles, in the canvas's own measure. */
  boxes() {
    return this.#roots.map(({ id }) => ({ ...this.placeOf(id), ...this.#size(id) }));
  }

  placeOf(id) {
    if (this.#held?.id === id) return at(this.#held);
    return this.#arranged.get(id) ?? at(this.#roots.find((root) => root.id === id));
  }

  isRoot(id) {
    return this.#roots.some((root) => root.id === id);
  }

  /** While a card is in somebody's hand, nothing else moves it. */
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

  #size(id) {
    const { offsetWidth: width, offsetHeight: height } = this.board.element(id);
    return { width, height };
  }
}

const at = ({ x, y }) => ({ x, y });

function draw(element, { x, y }) {
  element.style.transform = `translate(${x}px, ${y}px)`;
}
