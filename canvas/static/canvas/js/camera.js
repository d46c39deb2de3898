// Pan and zoom: which part of the canvas is in view.

import { fitted, overlaps, zoomedAt } from "./layout.js";

const DOTS = 24;
const FAR = 0.55;
const FARTHER = 0.3;
const MARGIN = 24;

export class Camera {
  #at = { x: 0, y: 0, zoom: 1 };
  #frame = null;

  /** @param {(at: import("./layout.js").Camera) => void} onMoved called when the user moves it */
  constructor(view, stage, onMoved) {
    this.view = view;
    this.stage = stage;
    this.onMoved = onMoved;
  }

  get at() {
    return this.#at;
  }

  /** Moves without calling onMoved. */
  set(at) {
    this.#at = at;
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  pan(dx, dy) {
    this.#move({ ...this.#at, x: this.#at.x + dx, y: this.#at.y + dy });
  }

  /** @param {number} px @param {number} py the fixed point of the view; its middle by default */
  zoom(factor, px = this.view.clientWidth / 2, py = this.view.clientHeight / 2) {
    this.#move(zoomedAt(this.#at, factor, px, py));
  }

  centre(element, zoom) {
    this.#move(this.centring(element, zoom));
  }

  /** The camera with an element in the middle of the view, or with its top left corner if it does not fit. */
  centring(element, zoom) {
    const { clientWidth, clientHeight } = this.view;
    const box = this.#boxOf(element);
    const start = (from, size, room) => Math.max((room - size * zoom) / 2, Math.min(MARGIN, room / 2)) - from * zoom;
    return { x: start(box.x, box.width, clientWidth), y: start(box.y, box.height, clientHeight), zoom };
  }

  /** @returns {HTMLElement|undefined} the one nearest to the middle of the view */
  nearest(elements) {
    const view = this.view.getBoundingClientRect();
    const distance = (element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      return Math.hypot(left + right - view.left - view.right, top + bottom - view.top - view.bottom);
    };
    const found = elements.map((element) => ({ element, distance: distance(element) }));
    return found.sort((a, b) => a.distance - b.distance)[0]?.element;
  }

  fit(boxes) {
    if (boxes.length) this.#move(this.fitting(boxes));
  }

  fitting(boxes) {
    return fitted(boxes, this.view.clientWidth, this.view.clientHeight);
  }

  sees(at, boxes) {
    const { clientWidth, clientHeight } = this.view;
    const seen = { x: -at.x / at.zoom, y: -at.y / at.zoom, width: clientWidth / at.zoom, height: clientHeight / at.zoom };
    return boxes.some((box) => overlaps(seen, box));
  }

  /** Pans only as far as needed to show the top left corner of an element. */
  reveal(element, margin = MARGIN) {
    const view = this.view.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    const shift = (start, end, from, to) => {
      if (start < from + margin) return from + margin - start;
      return end > to - margin ? Math.max(to - margin - end, from + margin - start) : 0;
    };
    const dx = shift(box.left, box.right, view.left, view.right);
    const dy = shift(box.top, box.bottom, view.top, view.bottom);
    if (dx || dy) this.pan(dx, dy);
  }

  #boxOf(element) {
    this.#draw();
    const view = this.view.getBoundingClientRect();
    const { left, top, width, height } = element.getBoundingClientRect();
    const { x, y, zoom } = this.#at;
    return { x: (left - view.left - x) / zoom, y: (top - view.top - y) / zoom, width: width / zoom, height: height / zoom };
  }

  #move(at) {
    this.set(at);
    this.onMoved(at);
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const { x, y, zoom } = this.#at;
    this.stage.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    this.stage.classList.toggle("far", zoom < FAR);
    this.stage.classList.toggle("farther", zoom < FARTHER);
    this.view.style.backgroundPosition = `${x}px ${y}px`;
    const step = DOTS * zoom * 2 ** Math.max(0, Math.ceil(Math.log2(0.5 / zoom)));
    this.view.style.backgroundSize = `${step}px ${step}px`;
  }
}
