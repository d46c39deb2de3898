// Blocks of colour, painted: cards that are too small to read, and the map of everything.

import { DIMMED, paintedStateOf } from "./tree.js";
import { isOpen } from "./layout.js";

const STATES = ["failed", "offline", "degraded", "enrolment-expired", "provisioning", "paused", "online", "removed", DIMMED];
/** How strong the colour is of what is fine, or dimmed. */
const QUIET = { online: 0.4, paused: 0.4, provisioning: 0.4, [DIMMED]: 0.14 };
const MOST_PIXELS = 2048;

/** The colours of the theme as the browser computes them. */
export class Palette {
  #colours = null;

  constructor(probes) {
    this.probes = probes;
    const forget = () => (this.#colours = null);
    new MutationObserver(forget).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forget);
  }

  /** @returns {Object<string, string>} by state; also "team" and "line" */
  get colours() {
    this.#colours ??= Object.fromEntries([...this.probes.children].map((probe) => [probe.dataset.status, getComputedStyle(probe).color]));
    return this.#colours;
  }
}

/** Paints blocks into the window of the canvas. @param {HTMLCanvasElement} canvas inside the stage */
export function paintBlocks(canvas, blocks, window, zoom, { colours }) {
  canvas.hidden = blocks.length === 0;
  if (canvas.hidden) return;
  const scale = Math.min(zoom * devicePixelRatio, MOST_PIXELS / window.width, MOST_PIXELS / window.height);
  canvas.width = Math.ceil(window.width * scale);
  canvas.height = Math.ceil(window.height * scale);
  canvas.style.transform = `translate(${window.x}px, ${window.y}px) scale(${1 / scale})`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, -window.x * scale, -window.y * scale);
  for (const state of STATES.toReversed()) {
    context.fillStyle = colours[state];
    context.globalAlpha = QUIET[state] ?? 1;
    context.beginPath();
    for (const block of blocks) if (block.state === state) context.rect(block.x, block.y, block.width, block.height);
    context.fill();
  }
}

/** All cards, small; what is wrong is at least as large as can be seen. */
export class Minimap {
  #bounds = null;
  #scale = 1;

  /** @param {(point: {x: number, y: number}) => void} onGo called with the point of the canvas to look at */
  constructor(element, palette, onGo) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.frame = element.querySelector("i");
    this.palette = palette;
    const go = ({ clientX, clientY }) => {
      const { left, top } = this.canvas.getBoundingClientRect();
      onGo({ x: (clientX - left) / this.#scale + this.#bounds.x, y: (clientY - top) / this.#scale + this.#bounds.y });
    };
    element.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      if (this.#bounds) go(event);
    });
    element.addEventListener("pointermove", (event) => element.hasPointerCapture(event.pointerId) && this.#bounds && go(event));
  }

  /** @param {Node[]} roots @param {Map<string, {x: number, y: number}>} places */
  paint(roots, places) {
    this.element.hidden = roots.length === 0;
    if (this.element.hidden) return;
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width) return;
    this.#bounds = boundsOf(roots, places, width / height);
    this.#scale = width / this.#bounds.width;
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    const context = this.canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const loud = [];
    const draw = (node, x, y) => {
      const [left, top] = [(x - this.#bounds.x) * this.#scale, (y - this.#bounds.y) * this.#scale];
      const box = [left, top, node.width * this.#scale, node.height * this.#scale];
      const isTeam = isOpen(node) && box[2] > 6;
      const state = isTeam && !node.isDimmed ? node.state : paintedStateOf(node);
      if (!QUIET[state] && !isTeam) loud.push({ state, box });
      else this.#fill(context, isTeam ? "team" : state, isTeam ? 0.09 : QUIET[state], box);
      if (isTeam) for (const child of node.children) draw(child, x + child.x, y + child.y);
      if (isTeam && !QUIET[state]) loud.push({ state, box: [left, top, box[2], Math.max(2, node.head * this.#scale)] });
    };
    for (const root of roots) draw(root, places.get(root.id).x, places.get(root.id).y);
    loud.sort((a, b) => STATES.indexOf(b.state) - STATES.indexOf(a.state));
    for (const { state, box: [x, y, w, h] } of loud) this.#fill(context, state, 1, [x, y, Math.max(3, w), Math.max(3, h)]);
  }

  /** @param {Box} window the part of the canvas in view */
  show({ x, y, width, height }) {
    if (!this.#bounds) return;
    const scale = this.#scale;
    const { style } = this.frame;
    style.transform = `translate(${(x - this.#bounds.x) * scale}px, ${(y - this.#bounds.y) * scale}px)`;
    style.width = `${width * scale}px`;
    style.height = `${height * scale}px`;
  }

  #fill(context, colour, alpha, [x, y, width, height]) {
    context.globalAlpha = alpha;
    context.fillStyle = this.palette.colours[colour] ?? this.palette.colours.team;
    context.fillRect(x, y, Math.max(0.7, width - 0.4), Math.max(0.7, height - 0.4));
  }
}

/** What the map shows: all top-level cards, in the shape of the map. */
function boundsOf(roots, places, aspect) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { id, width, height } of roots) {
    const { x, y } = places.get(id);
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + width);
    bottom = Math.max(bottom, y + height);
  }
  const margin = 0.04 * Math.max(right - left, bottom - top);
  const width = Math.max(right - left + 2 * margin, (bottom - top + 2 * margin) * aspect);
  const height = width / aspect;
  return { x: (left + right - width) / 2, y: (top + bottom - height) / 2, width, height };
}
