// The tab's title says how many workspaces need somebody: "(2) Molecule".

import { call } from "./api.js";

/** The server's count is up to five seconds old: one that is read later includes what has just happened. */
const SETTLED_MS = 5500;
let timer = null;
let isWantedAgain = false;

/** Counts once what has just happened is included. All calls meanwhile share one more count. */
export function countAttentionSoon() {
  isWantedAgain = timer !== null;
  timer ??= setTimeout(() => {
    timer = null;
    countAttention();
    if (isWantedAgain) countAttentionSoon();
  }, SETTLED_MS);
}

export async function countAttention() {
  const answer = await call("GET", "/attention").catch(() => null);
  if (answer) document.title = answer.data.count ? `(${answer.data.count}) Molecule` : "Molecule";
}
