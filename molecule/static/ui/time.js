// Ages and absolute times, by the server's clock. The admin uses this too.

let skew = 0;

/** @param {string | null} time the server's, which corrects ages when this machine's clock is wrong */
export function setServerTime(time, here = Date.now()) {
  const there = Date.parse(time ?? "");
  // It took time to arrive, so smaller differences mean nothing.
  skew = Number.isNaN(there) || Math.abs(there - here) < 3000 ? 0 : there - here;
}

export function serverNow() {
  return Date.now() + skew;
}

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** "now", "12 s ago", "3 min ago"; @param {number} ms how long ago */
export function age(ms) {
  const seconds = Math.floor(ms / 1000);
  if (!(seconds >= 1)) return "now";
  const [size, unit] = UNITS.find(([size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** Local time with its zone, and ISO time: for tooltips. "25 Oct 2026, 02:30:00 CEST (2026-10-25T00:30:00.000Z)" */
export function absolute(at) {
  const date = new Date(at);
  return `${date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })} (${date.toISOString()})`;
}

/** "12:03:41 CET, 23 Nov" in the browser's language and zone; with the year unless it is the current one. */
export function moment(iso, now = new Date()) {
  const date = new Date(iso);
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  const time = date.toLocaleTimeString(undefined, { timeStyle: "long" });
  return `${time}, ${date.toLocaleDateString(undefined, { day: "numeric", month: "short", year })}`;
}
