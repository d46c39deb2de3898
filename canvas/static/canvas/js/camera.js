// Pan and zoom: which part of the canvas is in view.

import { overlaps } from "./layout.js";
import { fitted, zoomedAt } from "./zoom.js";

const DOTS = 24;
const MARGIN = 24;
/** The camera rests when it has not moved for so long. */
const REST_MS = 160;

export class Camera {
  #at = { x: 0, y: 0, zoom: 1 };
  #restTimer = null;

  /**
   * @param {object} options
   * @param {() => void} options.onChange called when it moves
   * @param {(at: At) => void} options.onMoved called when the user moves it
   */
  constructor(view, stage, dots, options) {
    Object.assign(this, { view, stage, dots, options });
    this.measure();
    new ResizeObserver(() => this.#resized()).observe(view);
  }

  get at() {
    return this.#at;
  }

  /** Takes size and place of the view, which otherwise the observer does: reading them costs a layout. */
  measure() {
    const { left, top } = this.view.getBoundingClientRect();
    const { clientWidth: width, clientHeight: height } = this.view;
    Object.assign(this, { size: { width, height }, corner: { left, top } });
  }

  /** Whether it moves: nothing but the position of the stage should change then. */
  get isMoving() {
    return this.#restTimer !== null;
  }

  /** Moves without calling onMoved. */
  set(at) {
    this.#at = at;
    this.stage.classList.add("moving");
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => this.#rest(), REST_MS);
    this.options.onChange();
  }

  pan(dx, dy) {
    this.move({ ...this.#at, x: this.#at.x + dx, y: this.#at.y + dy });
  }

  /** @param {number} px @param {number} py the fixed point of the view; its middle by default */
  zoom(factor, px = this.size.width / 2, py = this.size.height / 2) {
    this.move(zoomedAt(this.#at, factor, px, py));
  }

  move(at) {
    this.set(at);
    this.options.onMoved(at);
  }

  /** The camera with a box in the middle of the view, or with its top left corner if it does not fit. */
  centring(box, zoom) {
    const start = (from, size, room) => Math.max((room - size * zoom) / 2, Math.min(MARGIN, room / 2)) - from * zoom;
    const { width, height } = this.size;
    return { x: start(box.x, box.width, width), y: start(box.y, box.height, height), zoom };
  }

  fitting(boxes) {
    return fitted(boxes, this.size.width, this.size.height);
  }

  sees(at, boxes) {
    const seen = this.window(0, at);
    return boxes.some((box) => overlaps(seen, box));
  }

  /** The part of the canvas in view, with a margin of so many views on each side. */
  window(overscan = 0, { x, y, zoom } = this.#at) {
    const [width, height] = [this.size.width / zoom, this.size.height / zoom];
    return {
      x: -x / zoom - overscan * width,
      y: -y / zoom - overscan * height,
      width: (1 + 2 * overscan) * width,
      height: (1 + 2 * overscan) * height,
    };
  }

  /** The point of the canvas at a point of the page. */
  pointAt(clientX, clientY) {
    const { left, top } = this.corner;
    const { x, y, zoom } = this.#at;
    return { x: (clientX - left - x) / zoom, y: (clientY - top - y) / zoom };
  }

  /** Pans only as far as needed to show the top left corner of a box. */
  reveal(box, margin = MARGIN) {
    const { x, y, zoom } = this.#at;
    const shift = (start, end, room) => {
      if (start < margin) return margin - start;
      return end > room - margin ? Math.max(room - margin - end, margin - start) : 0;
    };
    const dx = shift(box.x * zoom + x, (box.x + box.width) * zoom + x, this.size.width);
    const dy = shift(box.y * zoom + y, (box.y + box.height) * zoom + y, this.size.height);
    if (dx || dy) this.pan(dx, dy);
  }

  draw() {
    const { x, y, zoom } = this.#at;
    this.stage.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    this.dots.style.transform = `translate(${x % DOTS}px, ${y % DOTS}px)`;
  }

  #rest() {
    this.#restTimer = null;
    // Until here the browser scales what it has drawn; now it draws the text sharply.
    this.stage.classList.remove("moving");
    this.options.onChange();
  }

  #resized() {
    if (!this.view.clientWidth || !this.view.clientHeight) return;
    this.measure();
    this.options.onChange();
  }
}
