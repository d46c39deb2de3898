// REST with the session: JSON both ways, failures as ApiError. A 401, and a 403 for a read, is also an event "refused".

/** `status` is 0 when no answer arrived. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const TIMEOUT_MS = 15000;
const SAVE_AFTER_MS = 500;
/** Characters of a body; 64 KiB in UTF-8 is the limit. */
const SMALL = 16_000;

/** The address of a path of the API; Molecule may be served below a sub-path. */
export const address = (path) => document.body.dataset.scriptName + path;

/**
 * @param {AbortSignal} [signal] @param {object} [conditions] more headers: If-Match and the like
 * @returns {Promise<{data: any, headers: Headers}>}
 */
export async function call(method, path, body, signal, conditions) {
  const response = await send(method, path, body, signal, conditions);
  const data = await response.json().catch(() => null);
  if (response.status === 401 || (response.status === 403 && method === "GET")) {
    dispatchEvent(new CustomEvent("refused", { detail: response.status }));
  }
  if (!response.ok) throw new ApiError(response.status, data?.error ?? `the server answered ${response.status}`);
  if (data === null) throw new ApiError(response.status, "the server's answer was not JSON");
  return { data, headers: response.headers };
}

async function send(method, path, body, aborted, conditions) {
  const headers = { Accept: "application/json", ...conditions };
  if (method !== "GET") {
    headers["Content-Type"] = "application/json";
    headers["X-CSRFToken"] = cookie(document.body.dataset.csrfCookie);
  }
  const text = body && JSON.stringify(body);
  // Small changes that are sent while the page closes still arrive; browsers refuse this for large ones.
  const keepalive = method !== "GET" && (text?.length ?? 0) < SMALL;
  const options = { method, headers, cache: "no-cache", keepalive, body: text };
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = aborted ? AbortSignal.any([timeout, aborted]) : timeout;
  try {
    return await fetch(address(path), { ...options, signal });
  } catch (failure) {
    const slow = failure.name === "TimeoutError";
    throw new ApiError(0, slow ? "the server did not answer in time" : "the server cannot be reached");
  }
}

/** The path and query of a relation in a Link header, without what Molecule is served below; null without it. */
export function linkOf(headers, rel) {
  const found = new RegExp(`<([^>]+)>;\\s*rel="${rel}"`).exec(headers.get("Link") ?? "");
  if (!found) return null;
  const { pathname, search } = new URL(found[1], location);
  return pathname.slice(document.body.dataset.scriptName.length) + search;
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

const pending = new Map();

/** Sends the last of several changes with the same key, SAVE_AFTER_MS after it. */
export function soon(key, send) {
  clearTimeout(pending.get(key)?.timer);
  const timer = setTimeout(() => flush(key), SAVE_AFTER_MS);
  pending.set(key, { timer, send });
  addEventListener("pagehide", flushAll);
}

function flush(key) {
  const { timer, send } = pending.get(key);
  clearTimeout(timer);
  pending.delete(key);
  send();
}

const flushAll = () => [...pending.keys()].forEach(flush);
