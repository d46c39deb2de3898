// Canvas or list, and how many levels of it are open.

import { addressWith } from "./time_travel.js";

const narrow = matchMedia("(max-width: 640px)");
const { dataset } = document.body;
const select = document.getElementById("levels");
const buttons = document.querySelectorAll(".as-list");
let wantsList = new URLSearchParams(location.search).get("view") === "list";

export const isCanvas = () => dataset.view === "canvas" && dataset.state === "board";

/**
 * @param {() => void} onView called with another view, and at the beginning
 * @param {(level: number) => void} onLevel called when another number of levels is chosen
 */
export function startViewing(onView, onLevel) {
  const choose = () => {
    dataset.view = narrow.matches || wantsList ? "list" : "canvas";
    for (const button of buttons) button.setAttribute("aria-pressed", String(wantsList));
    onView();
  };
  const write = () => history.replaceState(history.state, "", addressWith("view", wantsList ? "list" : null));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      wantsList = !wantsList;
      write();
      choose();
    });
  }
  select.addEventListener("change", () => onLevel(select.value === "all" ? 99 : Number(select.value)));
  narrow.addEventListener("change", choose);
  addEventListener("popstate", write);
  choose();
}

/** The choice of levels, where there are several. @param {Tree} tree @param {Folding} folding */
export function showLevels(tree, { level, auto }) {
  let depth = 0;
  for (const { depth: own, children } of tree.nodes.values()) if (children.length) depth = Math.max(depth, own + 1);
  select.hidden = depth === 0;
  const chosen = (level ?? auto) >= depth ? "all" : String(level ?? auto);
  if (select.options.length !== depth + 1) {
    const names = Array.from({ length: depth }, (_, n) => new Option(n ? `${n + 1} levels` : "Top level", n));
    select.replaceChildren(...names, new Option("All levels", "all"));
  }
  select.value = chosen;
}
