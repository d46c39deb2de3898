// Updates every <time data-relative>, by the server's clock; the server writes the first text in the same form
// (registry/admin/formats.py).

import { age, serverNow, setServerTime } from "../ui/time.js";

const REFRESH_MS = 1000;
const times = document.querySelectorAll("time[data-relative]");

/** When the page began to arrive, by this machine's clock. */
function arrivedAt() {
  const [{ responseStart }] = performance.getEntriesByType("navigation");
  return Date.now() - performance.now() + responseStart;
}

function refresh() {
  for (const time of times) time.textContent = age(serverNow() - Date.parse(time.dateTime));
}

setServerTime(document.querySelector("meta[name=server-time]").content, arrivedAt());
if (times.length) setInterval(refresh, REFRESH_MS);
