// Pan and zoom: what part of the canvas is in view.

import { fitted, overlaps, zoomedAt } from "./layout.js";

const DOTS = 24;
const FAR = 0.55;
const FARTHER = 0.3;

export class Camera {
  #at = { x: 0, y: 0, zoom: 1 };
  #frame = null;

  /** @param {(at: import("./layout.js").Camera) => void} onMoved by the person */
  constructor(view, stage, onMoved) {
    this.view = view;
    this.stage = stage;
    this.onMoved = onMoved;
  }

  get at() {
    return this.#at;
  }

  /** Look from there, without telling anybody. */
  set(at) {
    this.#at = at;
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  pan(dx, dy) {
    this.#move({ ...this.#at, x: this.#at.x + dx, y: this.#at.y + dy });
  }

  /** @param {number} px @param {number} py the point of the view that stands still; its middle by default */
  zoom(factor, px = this.view.clientWidth / 2, py = this.view.clientHeight / 2) {
    this.#move(zoomedAt(this.#at, factor, px, py));
  }

  zoomTo(zoom) {
    this.zoom(zoom / this.#at.zoom);
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

  /** Pan just as far as it takes to see the beginning of an element. */
  reveal(element, margin = 24) {
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

  #move(at) {
    this.set(at);
    this.onMoved(at);
  }

  #draw() {
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
