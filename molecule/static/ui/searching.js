// The palette in the admin: Ctrl-K, / or the box in the top bar. It finds workspaces by GET /search; the dialog's data says
// where that is, and what the address of a workspace is.

import { LatestTask } from "./latest_task.js";
import { MOST, Palette } from "./palette.js";
import { serverNow } from "./time.js";
import { stateOf } from "./workspaces.js";

const REST_MS = 120;
const TIMEOUT_MS = 10000;
const NO_WORKSPACE = "00000000-0000-0000-0000-000000000000";
const REFUSED = {
  401: "Your session has ended. Load the page again to log in.",
  403: "Your account may not view workspaces.",
};
const latest = new LatestTask();

async function find(text, { search, workspace, list }, show) {
  latest.cancel();
  if (!search || !text) return show([]);
  show(null);
  try {
    const found = await latest.run((signal) => ask(search, text, signal), REST_MS);
    if (!found) return;
    const hits = found.value.map((hit) => ({ ...hit, href: workspace.replace(NO_WORKSPACE, hit.id), badge: badgeOf(hit) }));
    const all = { name: `All workspaces with “${text}”`, path: [], href: `${list}?${new URLSearchParams({ q: text })}` };
    show(hits.length === MOST ? [...hits, all] : hits);
  } catch (failure) {
    show([], `The search failed: ${failure.message}`);
  }
}

async function ask(search, text, aborted) {
  const signal = AbortSignal.any([aborted, AbortSignal.timeout(TIMEOUT_MS)]);
  const response = await fetch(`${search}?${new URLSearchParams({ q: text, limit: MOST })}`, { signal }).catch((failure) => {
    throw new Error(failure.name === "TimeoutError" ? "the server did not answer in time." : "the server cannot be reached.");
  });
  if (!response.ok) throw new Error(REFUSED[response.status] ?? `the server answered ${response.status}.`);
  return (await response.json()).workspaces;
}

function badgeOf(hit) {
  const state = stateOf(hit, serverNow());
  const badge = document.getElementById("live-badges")?.content.querySelector(`[data-state="${state}"]`);
  return badge?.firstElementChild.cloneNode(true);
}

/** @returns {(() => void)|null} what opens the palette; null on a page without one */
export function startPalette() {
  const dialog = document.getElementById("palette");
  if (!dialog) return null;
  const palette = new Palette((text, show) => find(text, dialog.dataset, show));
  const open = () => palette.open();
  document.getElementById("find-form")?.setAttribute("hidden", "");
  const button = document.getElementById("find");
  button.hidden = false;
  button.addEventListener("click", open);
  if (/^(Mac|iP)/.test(navigator.platform)) button.querySelector("kbd").textContent = "⌘ K";
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  return open;
}
