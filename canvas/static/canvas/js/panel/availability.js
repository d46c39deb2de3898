// Availability as a strip: one part for each stretch of time in which the status was the same. `runsOf` is pure.

import { stateLabel } from "../states.js";
import { moment } from "../../../ui/time.js";
import { draw, make } from "./dom.js";

const HEIGHT = 22;
const UNIT = 10;

/** @param {{from, to, strip: (string|null)[]}} found @returns {{status, start, length, from, to}[]} times as ISO */
export function runsOf({ from, to, strip }) {
  const runs = [];
  const [begin, step] = [Date.parse(from), (Date.parse(to) - Date.parse(from)) / Math.max(1, strip.length)];
  strip.forEach((status, n) => {
    if (runs.at(-1)?.status !== status) runs.push({ status, start: n, length: 0, from: new Date(begin + n * step).toISOString() });
    runs.at(-1).length += 1;
    runs.at(-1).to = new Date(begin + (n + 1) * step).toISOString();
  });
  return runs;
}

/** "99.2%", without rounding up to 100%. @param {number} ratio */
export const percent = (ratio) => (ratio === 1 ? "100%" : `${Math.floor(ratio * 1000) / 10}%`);

/** "2 d 3 h": the two largest units. */
export function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const counts = units.map(([unit, size], n) => [Math.floor((n ? seconds % units[n - 1][1] : seconds) / size), unit]);
  const first = counts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return counts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const countOf = ({ length }) => (length === 1 ? "1 outage" : `${length || "no"} outages`);

/** "99.2%, 1 outage"; of less than the whole time it says of how much. */
export function summaryOf({ ratio, outages, from, to, up_seconds: up, down_seconds: down }) {
  if (ratio === null) return "No heartbeats were expected in this time.";
  const isWhole = up + down > 0.98 * ((Date.parse(to) - Date.parse(from)) / 1000);
  const part = isWhole ? "" : ` of the ${span(up + down)} in which heartbeats were expected`;
  return `${percent(ratio)}${part}, ${countOf(outages)}`;
}

export function availability(found) {
  const { strip, ratio, from, to } = found;
  const label = summaryOf(found);
  if (ratio === null) return [make("p", { class: "soft" }, label)];
  const parts = runsOf(found).map(({ status, start, length, from, to }) =>
    draw(
      "rect",
      { "data-status": status ?? "none", x: start * UNIT, width: length * UNIT - 1, height: HEIGHT },
      draw("title", {}, `${moment(from)} to ${moment(to)}: ${status ? stateLabel(status) : "not expected"}`),
    ),
  );
  const size = `0 0 ${strip.length * UNIT} ${HEIGHT}`;
  return [
    make("p", { class: "soft" }, label),
    draw("svg", { class: "panel-strip", viewBox: size, preserveAspectRatio: "none", role: "img", "aria-label": label }, parts),
    make("p", { class: "panel-ends", "aria-hidden": "true" }, make("span", {}, moment(from)), make("span", {}, moment(to))),
  ];
}
