// Link headers. Pure.

/** @param {Headers} headers @returns {string|null} the path and query of that relation, without what Molecule is served below */
export function linkOf(headers, rel, scriptName = globalThis.document?.body.dataset.scriptName ?? "") {
  const found = new RegExp(`<([^>]+)>;\\s*rel="${rel}"`).exec(headers.get("Link") ?? "");
  if (!found) return null;
  const { pathname, search } = new URL(found[1], "http://any");
  return pathname.slice(pathname.startsWith(scriptName) ? scriptName.length : 0) + search;
}
