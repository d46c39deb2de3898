// Everything around the cards: connection, the states of the page, the banner, toasts, the menu, and the
// choice of the view and its levels.

import { setText } from "./card.js";
import { addressWith } from "./time_travel.js";
import { absolute, age, serverNow } from "../../ui/time.js";

const TOAST_MS = 8000;
const $ = (id) => document.getElementById(id);

const narrow = matchMedia("(max-width: 640px)");
const { dataset } = document.body;
const select = $("levels");
const listButtons = document.querySelectorAll(".as-list");
const creating = document.querySelectorAll(".create, #import-bundle");
let wantsList = new URLSearchParams(location.search).get("view") === "list";

/** The ids of the elements that show each state of the page; reconnecting is `board` with the banner. */
const STATES = ["loading", "empty", "empty-past", "error", "signed-out", "forbidden", "board"];
const REFUSED = ["signed-out", "forbidden"];

export class Shell {
  retryAt = null;

  constructor() {
    addEventListener("click", ({ target }) => {
      if (!target.closest(".theme-toggle")) this.toggleMenu(!isMenuOpen() && $("menu").contains(target));
    });
  }

  toggleMenu(isOpen) {
    $("menu").setAttribute("aria-expanded", String(isOpen));
  }

  /** @returns {boolean} whether the menu was open */
  closeMenu() {
    if (!isMenuOpen()) return false;
    this.toggleMenu(false);
    $("menu").focus();
    return true;
  }

  render(state, workspaces, travel) {
    this.state = state;
    const shown = stateOf(state, workspaces, travel);
    this.isPast = travel.shown !== null && !REFUSED.includes(shown);
    for (const button of creating) button.disabled = this.isPast;
    for (const name of STATES) $(name).hidden = name !== shown;
    dataset.state = shown;
    $("view").setAttribute("aria-busy", String(shown === "loading"));
    setText($("failure"), state.failure ?? "");
    this.tick();
  }

  tick() {
    const { connection, phase, updatedAt } = this.state;
    const isLost = phase === "ready" && ["reconnecting", "offline"].includes(connection.status);
    dataset.connection = phase === "ready" ? connection.status : "";
    setText($("connection-word"), this.isPast ? "past" : phase === "ready" ? connectionLabel(connection) : PHASES[phase]);
    $("connection").dataset.status = this.isPast ? "past" : phase === "ready" ? connection.status : phase;
    $("updated").hidden = this.isPast;
    setText($("updated"), updatedAt ? `updated ${age(serverNow() - updatedAt)}` : "");
    if (updatedAt) $("updated").title = absolute(updatedAt);
    $("banner").hidden = !isLost;
    setText($("countdown"), attempt(connection));
    setText($("next-load"), this.retryAt ? `Trying again ${until(this.retryAt)}.` : "Trying again…");
  }

  /** @param {{isDone?: boolean, button?: string, run?: () => void}} options `isDone`: it is no error; `button`: what it offers */
  toast(message, { isDone = false, button, run } = {}) {
    const toast = $("toast").content.firstElementChild.cloneNode(true);
    const [offer, dismiss] = toast.querySelectorAll("button");
    toast.querySelector("p").textContent = message;
    toast.classList.toggle("done", isDone);
    const remove = () => toast.remove();
    for (const one of [offer, dismiss]) one.addEventListener("click", remove);
    offer.hidden = !button;
    offer.textContent = button;
    if (run) offer.addEventListener("click", run);
    setTimeout(remove, TOAST_MS);
    if (isDone) for (const before of $("toasts").querySelectorAll(".done")) before.remove();
    $("toasts").append(toast);
  }

  /** The module of an import(); null, with a toast, if it cannot be loaded. */
  async loaded(importing) {
    const module = await importing.catch(() => null);
    if (!module) this.toast("Nothing was done: the server cannot be reached.");
    return module;
  }
}

const isMenuOpen = () => $("menu").getAttribute("aria-expanded") === "true";

const PHASES = { loading: "connecting", error: "offline", "signed-out": "signed out", forbidden: "no access" };

function stateOf({ phase }, workspaces, { shown, isArriving }) {
  if (REFUSED.includes(phase)) return phase;
  if (shown) return workspaces.size ? "board" : "empty-past";
  if (isArriving) return "loading";
  if (phase !== "ready") return phase;
  return workspaces.size ? "board" : "empty";
}

function connectionLabel({ status, retryAt }) {
  if (status !== "reconnecting") return status;
  return retryAt ? `reconnecting ${until(retryAt)}…` : "reconnecting…";
}

function attempt({ status, retryAt }) {
  if (status === "offline") return "This device is offline.";
  return retryAt ? `Next attempt ${until(retryAt)}.` : "Trying now…";
}

function until(moment) {
  return `in ${Math.max(1, Math.ceil((moment - Date.now()) / 1000))} s`;
}

// --- The view --------------------------------------------------------------------------------------------

export const isCanvas = () => dataset.view === "canvas" && dataset.state === "board";

/**
 * @param {() => void} onView called with another view, and at the beginning
 * @param {(level: number) => void} onLevel called when another number of levels is chosen
 */
export function startViewing(onView, onLevel) {
  const choose = () => {
    dataset.view = narrow.matches || wantsList ? "list" : "canvas";
    for (const button of listButtons) button.setAttribute("aria-pressed", String(wantsList));
    onView();
  };
  const write = () => history.replaceState(history.state, "", addressWith("view", wantsList ? "list" : null));
  for (const button of listButtons) {
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
