// The cards on the canvas: one element for each that is drawn, inside that of its parent, updated in place.

import { detailOf, textScale } from "./zoom.js";

/** So many new cards in one frame; more come in the next ones, and the canvas stays smooth. */
const MOST_NEW = 12;

export class Board {
  #drawn = new Map();
  #isFirst = true;
  #marked = null;

  /** @param {Cards} cards */
  constructor(stage, cards) {
    this.stage = stage;
    this.cards = cards;
  }

  element(id) {
    return this.#drawn.get(id)?.element;
  }

  get size() {
    return this.#drawn.size;
  }

  /**
   * @param {Drawn[]} planned @param {number} zoom
   * @returns {boolean} whether all of them are drawn
   */
  render(planned, zoom) {
    const focused = document.activeElement;
    const isFocusHere = this.stage.contains(focused);
    this.#scale(zoom);
    this.#drop(new Set(planned.map(({ node }) => node.id)));
    let room = this.#isFirst ? Infinity : MOST_NEW;
    const ends = new Map();
    for (const drawn of planned) {
      const { node } = drawn;
      const container = node.parent ? this.#drawn.get(node.parent.id)?.parts.children : this.stage;
      if (!container || (!this.#drawn.has(node.id) && room-- <= 0)) continue;
      const card = this.#drawn.get(node.id) ?? this.#create(node.id);
      this.cards.fill(card, node);
      place(card, drawn);
      put(card.element, container, ends);
    }
    this.#isFirst &&= planned.length === 0;
    if (isFocusHere && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    return room >= 0;
  }

  /** Marks the selected card, and the one that Tab reaches, with its name. */
  mark(selected, current) {
    for (const id of new Set([this.#marked?.selected, this.#marked?.current, selected, current])) {
      const card = this.#drawn.get(id);
      if (!card) continue;
      card.element.setAttribute("aria-selected", String(id === selected));
      card.element.tabIndex = card.parts.name.tabIndex = id === current ? 0 : -1;
    }
    this.#marked = { selected, current };
  }

  /** Moves a card with the pointer, inside its parent. */
  move(id, { x, y }) {
    const card = this.#drawn.get(id);
    if (card) Object.assign(card, { x, y }).element.style.transform = `translate(${x}px, ${y}px)`;
  }

  tick() {
    for (const card of this.#drawn.values()) this.cards.tick(card);
  }

  #create(id) {
    const card = this.cards.create(id);
    this.#drawn.set(id, card);
    return card;
  }

  #drop(wanted) {
    for (const [id, { element }] of this.#drawn) {
      if (wanted.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
  }

  #scale(zoom) {
    const { dataset, style } = this.stage;
    const scale = textScale(zoom).toFixed(3);
    if (dataset.detail !== detailOf(zoom)) dataset.detail = detailOf(zoom);
    if (style.getPropertyValue("--k") !== scale) style.setProperty("--k", scale);
  }
}

function place(card, { node, fit, x, y }) {
  const { element } = card;
  const { width, height, head } = node;
  if (card.fit !== fit) element.dataset.fit = card.fit = fit;
  if (card.x !== x || card.y !== y) element.style.transform = `translate(${x}px, ${y}px)`;
  if (card.width !== width || card.height !== height) Object.assign(element.style, { width: `${width}px`, height: `${height}px` });
  if (card.head !== head) element.style.setProperty("--head", `${head}px`);
  Object.assign(card, { x, y, width, height, head });
}

/** Puts an element behind those that were put into the container before it. */
function put(element, container, ends) {
  const before = ends.get(container);
  const next = before ? before.nextElementSibling : container.querySelector(":scope > .card");
  if (element !== next) container.insertBefore(element, next);
  ends.set(container, element);
}
