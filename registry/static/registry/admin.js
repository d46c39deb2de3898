// Updates every <time data-relative>; the server writes the first text in the same form (registry/admin/formats.py).
const REFRESH_MS = 1000;
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [size, unit] = UNITS.find(([size]) => whole >= size) ?? [1, "s"];
  return `${Math.floor(whole / size)} ${unit}`;
}

function refresh() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    time.textContent = `${span((Date.now() - Date.parse(time.dateTime)) / 1000)} ago`;
  }
}

if (document.querySelector("time[data-relative]")) setInterval(refresh, REFRESH_MS);
