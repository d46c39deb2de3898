// Arithmetic of the camera, and what can be read at a zoom. Pure.

import { isOpen } from "./layout.js";

/** @typedef {{x: number, y: number, zoom: number}} At screen = canvas * zoom + (x, y) */

export const MIN_ZOOM = 0.05;
export const MAX_ZOOM = 10;
/** The zooms from which a card shows all that it has, its name, state, role and task, its name and state, and its name. */
const FULL = 0.8;
const BRIEF = 0.8 ** 2;
const NAMES = 0.8 ** 4;
const SMALL = 0.8 ** 5;
/** The smallest box, in pixels, in which a team's name and its states can be read; and the smallest open team's head. */
const SUMMARY = { width: 112, height: 54 };
const READABLE_HEAD = 22;

/** The camera after zooming by `factor` around the point (px, py) of the screen. */
export function zoomedAt(camera, factor, px, py) {
  const zoom = clampZoom(camera.zoom * factor);
  const ratio = zoom / camera.zoom;
  return { x: px - (px - camera.x) * ratio, y: py - (py - camera.y) * ratio, zoom };
}

/** The camera that shows all boxes, at 100% at most. `below`: the margin for the buttons. */
export function fitted(boxes, width, height, margin = 32, below = 64) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const box of boxes) {
    left = Math.min(left, box.x);
    top = Math.min(top, box.y);
    right = Math.max(right, box.x + box.width);
    bottom = Math.max(bottom, box.y + box.height);
  }
  const [wide, high] = [right - left, bottom - top];
  const zoom = clampZoom(Math.min(1, (width - 2 * margin) / wide, (height - margin - below) / high));
  const y = Math.max(margin, (height - below + margin - high * zoom) / 2);
  return { x: (width - wide * zoom) / 2 - left * zoom, y: y - top * zoom, zoom };
}

export function clampZoom(zoom) {
  return Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom));
}

/**
 * How much larger text must be drawn, so that on the screen it has at least its own size. It changes in steps: the
 * text is laid out again at a step, and only scaled between two.
 */
export function textScale(zoom) {
  return zoom >= 1 ? 1 : 0.8 ** -Math.ceil(Math.log(zoom) / Math.log(0.8) - 1e-9);
}

/** What single cards show: "full", "brief", "names", "small", or "far": nothing but the colour of their state. */
export function detailOf(zoom) {
  if (zoom >= BRIEF) return zoom >= FULL ? "full" : "brief";
  if (zoom >= NAMES) return "names";
  return zoom >= SMALL ? "small" : "far";
}

/**
 * What fits into a card at a zoom: its members ("open"), the names and states of a team or a card ("card"), or a
 * coloured block.
 * @param {Node} node
 */
export function fitOf(node, zoom) {
  const isReadable = zoom >= SMALL;
  if (!isOpen(node)) return isReadable ? "card" : "block";
  if (isReadable || node.head * zoom >= READABLE_HEAD) return "open";
  return node.width * zoom >= SUMMARY.width && node.height * zoom >= SUMMARY.height ? "card" : "block";
}

/** The zoom at which a node can be read. */
export function readableZoom(node) {
  if (!isOpen(node)) return FULL;
  return Math.max(MIN_ZOOM, Math.min(FULL, 1.3 * Math.max(SUMMARY.width / node.width, SUMMARY.height / node.height)));
}
