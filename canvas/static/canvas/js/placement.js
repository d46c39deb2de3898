// Places of the top-level cards: their saved place, or one arranged around the saved ones. No DOM.

import { arrange, Boxes, nearestFree } from "./packing.js";

/** The server answers 0, 0 for a card that was never placed. */
export const isPlaced = ({ x, y }) => x !== 0 || y !== 0;

export class Placement {
  /** @type {Map<string, {x: number, y: number}>} by id of the top-level card */
  places = new Map();
  #roots = [];
  #saved = new Map();
  #held = null;
  #kept = null;

  /**
   * @param {Node[]} roots laid out
   * @param {boolean} isOther whether they have other sizes, or are other cards
   * @returns {boolean} whether a card has another place
   */
  update(roots, isOther) {
    this.#roots = roots;
    if (!isOther && !roots.some(({ id, workspace }) => isElsewhere(this.#saved.get(id), workspace))) return false;
    this.#saved = new Map(roots.map(({ id, workspace: { x, y } }) => [id, { x, y }]));
    const items = roots.map(({ id, width, height, workspace }) => {
      const { x, y } = this.#held?.id === id ? this.#held : workspace;
      return { id, width, height, ...(isPlaced({ x, y }) && { x, y }) };
    });
    this.places = arrange(items, new Map([...(this.#kept ?? []), ...this.places]));
    return true;
  }

  /** Forgets where cards without a place were put, so that all are laid out again. */
  forget() {
    this.places = new Map();
  }

  /** Remembers the current arrangement until restore(), while the past is shown. */
  keep() {
    this.#kept = this.places;
  }

  restore() {
    this.places = this.#kept ?? this.places;
    this.#kept = null;
  }

  /** Where a card dropped at a place goes: there, or beside the cards that it would cover. */
  freePlace(node, place) {
    const others = this.#roots.filter(({ id }) => id !== node.id);
    const boxes = others.map(({ id, width, height }) => ({ ...this.places.get(id), width, height }));
    return nearestFree({ ...place, width: node.width, height: node.height }, new Boxes(boxes));
  }

  /** Moves a card with the pointer; until release() nothing else moves it. */
  hold(id, { x, y }) {
    this.#held = { id, x, y };
    this.places.set(id, { x, y });
  }

  release() {
    this.#saved.delete(this.#held?.id);
    this.#held = null;
  }
}

const isElsewhere = (saved, { x, y }) => saved?.x !== x || saved?.y !== y;
