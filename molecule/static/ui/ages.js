// Updates every <time data-relative>, by the server's clock; the server writes the first text in the same form
// (registry/admin/formats.py).

import { age, serverNow, setServerTime } from "./time.js";

const REFRESH_MS = 1000;

/** When the page began to arrive, by this machine's clock. */
function arrivedAt() {
  const [{ responseStart }] = performance.getEntriesByType("navigation");
  return Date.now() - performance.now() + responseStart;
}

/** The page's times may be others each time: live_parts.js replaces parts of the page. */
export function refreshAges(root = document) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const text = age(serverNow() - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

export function startAges() {
  setServerTime(document.querySelector("meta[name=server-time]").content, arrivedAt());
  setInterval(refreshAges, REFRESH_MS);
}
