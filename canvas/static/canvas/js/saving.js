// Changes that are sent to the server a moment after the last one of their kind.

const SAVE_AFTER_MS = 500;
const pending = new Map();

/** Runs the last of several calls with the same key, SAVE_AFTER_MS after it. */
export function soon(key, run) {
  clearTimeout(pending.get(key)?.timer);
  const timer = setTimeout(() => flush(key), SAVE_AFTER_MS);
  pending.set(key, { timer, run });
}

function flush(key) {
  const { timer, run } = pending.get(key);
  clearTimeout(timer);
  pending.delete(key);
  run();
}

addEventListener("pagehide", () => [...pending.keys()].forEach(flush));
