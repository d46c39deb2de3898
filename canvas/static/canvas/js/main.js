// Connects the parts of the page: server → store → page, and the user's actions → store and server.

import { ApiError, address, call } from "./api.js";
import { Camera } from "./camera.js";
import { followPointer } from "./drag.js";
import { followCardKeys, followPageKeys } from "./keys.js";
import { isPlaced, nextStateChange, treeOf } from "./layout.js";
import { Placement } from "./placement.js";
import { Board } from "./render.js";
import { Shell } from "./shell.js";
import { createStore, currentWorkspaces } from "./store.js";
import { backoff, Stream } from "./stream.js";
import { serverNow, setServerTime } from "../../ui/time.js";
import { addressWith, TimeTravel } from "./time_travel.js";
import { Timeline } from "./timeline.js";

const SAVE_AFTER_MS = 500;
const ZOOM_STEP = 1.25;
const READABLE_ZOOM = 0.75;
const PHASES = { 401: "signed-out", 403: "forbidden" };
const $ = (id) => document.getElementById(id);

const app = document.body;
const mayAct = app.dataset.mayAct === "true";
const view = $("view");
const store = createStore();
const shell = new Shell();
const board = new Board($("board"), $("card"), app.dataset);
const camera = new Camera(view, $("board"), cameraMoved);
const placement = new Placement(board, isCanvas, restoreCamera);
const travel = new TimeTravel({ active: () => currentWorkspaces(store.state), onChange: renderSoon });
const timeline = new Timeline(travel, reveal);

// --- Loading ---------------------------------------------------------------------------------------------

const savedViewport = call("GET", "/canvas/viewport").catch(() => null);
let failedLoads = 0;
let loadTimer;
let isLoading = false;
let isWantedAgain = false;

async function load() {
  clearTimeout(loadTimer);
  isWantedAgain = isLoading;
  if (isLoading) return;
  isLoading = true;
  shell.retryAt = null;
  store.dispatch({ type: "load" });
  try {
    const { data, headers } = await call("GET", "/workspaces");
    setServerTime(headers.get("X-Server-Time"));
    // Before the first rendering, so that the cards do not jump.
    await savedViewport;
    const seq = Number(headers.get("X-Event-Seq"));
    store.dispatch({ type: "snapshot", seq, eventId: headers.get("X-Event-ID") ?? "", workspaces: data, at: serverNow() });
    failedLoads = 0;
    if (!stream.isRunning) stream.connect();
  } catch (failure) {
    loadFailed(failure);
  } finally {
    isLoading = false;
  }
  if (isWantedAgain) load();
}

function loadFailed(failure) {
  if (!(failure instanceof ApiError)) throw failure;
  if (failure.status in PHASES) return;
  const wait = backoff(failedLoads++) + 1000;
  shell.retryAt = Date.now() + wait;
  loadTimer = setTimeout(load, wait);
  if (store.state.phase === "ready") shell.toast(`Could not refresh: ${failure.message}`);
  store.dispatch({ type: "failed", phase: "error", message: failure.message });
}

const stream = new Stream({
  position: () => store.state,
  onEvent(event) {
    store.dispatch({ type: "event", event, at: serverNow() });
    travel.onEvent(event);
  },
  onAlive: () => store.dispatch({ type: "alive", at: serverNow() }),
  onLive() {
    store.dispatch({ type: "connection", status: "live" });
    // Transient events are not replayed after a reconnect, so load everything once.
    load();
  },
  onConnecting() {
    const { status } = store.state.connection;
    store.dispatch({ type: "connection", status: status === "connecting" ? status : "reconnecting" });
  },
  onLost: (retryAt) => store.dispatch({ type: "connection", status: "reconnecting", retryAt }),
  onRefused: (phase) => store.dispatch({ type: "failed", phase, message: null }),
});

addEventListener("refused", ({ detail: status }) => {
  stream.stop();
  store.dispatch({ type: "failed", phase: PHASES[status], message: null });
});

// --- Rendering -------------------------------------------------------------------------------------------

let frame = null;
let past = null;
let nextChangeAt = Infinity;
store.subscribe(renderSoon);

function shownWorkspaces() {
  return travel.shown?.workspaces ?? currentWorkspaces(store.state);
}

function renderSoon() {
  frame ??= requestAnimationFrame(render);
}

function render() {
  frame = null;
  const before = past;
  past = travel.shown;
  const workspaces = shownWorkspaces();
  shell.render(store.state, workspaces, travel);
  timeline.render(shell.isPast);
  // A view of the past does not change.
  if (past && past === before) return;
  const now = serverNow();
  nextChangeAt = nextStateChange(workspaces, now);
  const roots = treeOf(workspaces, now);
  if (past && !before) placement.keep();
  board.render(roots);
  placement.update(roots);
  if (before && !past) placement.restore();
  // On the canvas this waits for restoreCamera().
  if (!isCanvas() && /board|empty/.test(app.dataset.state)) focusAddressed();
}

setInterval(() => {
  if (document.hidden) return;
  shell.tick();
  timeline.tick();
  board.tick();
  if (serverNow() >= nextChangeAt) renderSoon();
}, 1000);

// --- Canvas or list --------------------------------------------------------------------------------------

const narrow = matchMedia("(max-width: 640px)");
let wantsList = new URLSearchParams(location.search).get("view") === "list";

function isCanvas() {
  return app.dataset.view === "canvas" && app.dataset.state === "board";
}

function chooseView() {
  app.dataset.view = narrow.matches || wantsList ? "list" : "canvas";
  $("as-list").setAttribute("aria-pressed", String(wantsList));
  placement.settle();
}

function toggleList() {
  wantsList = !wantsList;
  writeView();
  chooseView();
}

function writeView() {
  history.replaceState(history.state, "", addressWith("view", wantsList ? "list" : null));
}

// --- Changes ---------------------------------------------------------------------------------------------

const pending = new Map();

/** Runs the last of several calls with the same key, SAVE_AFTER_MS after it. */
function soon(key, run) {
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

async function save(id, changes) {
  try {
    await call("PATCH", `/workspaces/${id}`, changes);
    store.dispatch({ type: "saved", id, changes, kept: true });
  } catch (failure) {
    store.dispatch({ type: "saved", id, changes, kept: false });
    const { name } = store.state.workspaces.get(id) ?? { name: "the workspace" };
    shell.toast(`Could not save the layout of ${name}: ${failure.message}`);
  }
}

function place(id, at) {
  // 0, 0 means "not placed".
  const changes = isPlaced(at) ? at : { x: 1, y: 0 };
  store.dispatch({ type: "change", id, changes });
  return changes;
}

const mayMove = () => mayAct && !travel.shown;

function nudge(id, dx, dy) {
  if (!mayMove() || !isCanvas() || !placement.isRoot(id)) return;
  const { x, y } = currentWorkspaces(store.state).get(id);
  const from = isPlaced({ x, y }) ? { x, y } : placement.placeOf(id);
  const changes = place(id, { x: Math.round(from.x + dx), y: Math.round(from.y + dy) });
  soon(id, () => save(id, changes));
}

function toggle(id) {
  if (!board.element(id).hasAttribute("aria-expanded")) return;
  const changes = { collapsed: !shownWorkspaces().get(id).collapsed };
  show(id, changes);
  if (mayMove()) save(id, changes);
}

/** Collapses or expands a card on this page only. */
function show(id, { collapsed }) {
  if (travel.shown) travel.collapse(id, collapsed);
  else store.dispatch({ type: "change", id, changes: { collapsed } });
}

followPointer({ view, camera, placement, mayMove, isCanvas, onPlaced: (id, at) => save(id, place(id, at)) });
followCardKeys({ board, isCanvas, onToggle: toggle, onNudge: nudge });

// --- Finding a workspace ---------------------------------------------------------------------------------

/** Expands the teams that hide a workspace, on this page only. @returns {HTMLElement|undefined} its card */
function expandTo(id) {
  const workspaces = shownWorkspaces();
  for (let up = workspaces.get(workspaces.get(id)?.parent_id); up; up = workspaces.get(up.parent_id)) {
    if (up.collapsed) show(up.id, { collapsed: false });
  }
  render();
  placement.settle();
  return board.element(id);
}

function reveal(id) {
  const card = expandTo(id);
  if (isCanvas()) card && camera.reveal(card, 64);
  else card?.scrollIntoView({ block: "center" });
}

let addressedWorkspace = new URLSearchParams(location.search).get("ws");

/** Shows and focuses the workspace of ?ws=, once. */
function focusAddressed() {
  const id = addressedWorkspace?.trim().toLowerCase();
  addressedWorkspace = null;
  if (!id) return;
  const card = expandTo(id);
  if (!card) return shell.toast(`Workspace ${id} is not shown here. It may have been removed.`);
  if (isCanvas()) look(camera.centring(card, Math.max(camera.at.zoom, READABLE_ZOOM)));
  else card.scrollIntoView({ block: "center" });
  card.focus({ preventScroll: true });
}

board.stage.addEventListener("click", ({ target }) => {
  const fold = target.closest(".fold");
  if (fold) toggle(fold.closest(".card").dataset.id);
});
board.stage.addEventListener("focusin", ({ target }) => {
  if (isCanvas() && target.matches(":focus-visible")) camera.reveal(target.closest(".card"));
});

// --- Camera ----------------------------------------------------------------------------------------------

async function restoreCamera() {
  const saved = (await savedViewport)?.data;
  const isUntouched = !saved || (!isPlaced(saved) && saved.zoom === 1);
  const boxes = placement.boxes();
  look(isUntouched || !camera.sees(saved, boxes) ? camera.fitting(boxes) : saved);
  focusAddressed();
}

/** Moves the camera of this page without saving it. */
function look(at) {
  camera.set(at);
  showZoom();
}

function cameraMoved({ x, y, zoom }) {
  showZoom();
  if (!mayAct) return;
  soon("viewport", () =>
    call("PUT", "/canvas/viewport", { x, y, zoom }).catch((failure) =>
      shell.toast(`Could not save the view: ${failure.message}`),
    ),
  );
}

function showZoom() {
  $("zoom").textContent = `${Math.round(camera.at.zoom * 100)} %`;
}

/** 100 %, centred on the selected card or on the one nearest to the middle of the view. */
function actualSize() {
  const visible = board.visible();
  const heads = visible.map((card) => card.querySelector(".card-head"));
  const card = visible.includes(board.selected) ? board.selected : camera.nearest(heads).closest(".card");
  camera.centre(card, 1);
}

const cameraKeys = {
  "+": () => camera.zoom(ZOOM_STEP),
  "=": () => camera.zoom(ZOOM_STEP),
  "-": () => camera.zoom(1 / ZOOM_STEP),
  0: actualSize,
  f: () => camera.fit(placement.boxes()),
};
const onCanvas = (run) => () => isCanvas() && run();
followPageKeys({
  ...Object.fromEntries(Object.entries(cameraKeys).map(([key, run]) => [key, onCanvas(run)])),
  h: () => timeline.toggle(),
  Escape: () => shell.closeMenu() || timeline.escape(),
  "?": () => $("keys").showModal(),
});

const buttons = {
  "zoom-in": cameraKeys["+"],
  "zoom-out": cameraKeys["-"],
  zoom: cameraKeys[0],
  fit: cameraKeys.f,
  "as-list": toggleList,
  "show-keys": () => $("keys").showModal(),
  "load-now": retryLoad,
  "connect-now": () => stream.retry(),
};
for (const [id, run] of Object.entries(buttons)) $(id).addEventListener("click", run);

// --- The browser -----------------------------------------------------------------------------------------

function retryLoad() {
  failedLoads = 0;
  load();
}

narrow.addEventListener("change", chooseView);
addEventListener("popstate", writeView);
addEventListener("pagehide", () => [...pending.keys()].forEach(flush));
addEventListener("online", () => (store.state.phase === "ready" ? stream.retry() : retryLoad()));
addEventListener("offline", () => {
  stream.stop();
  store.dispatch({ type: "connection", status: "offline" });
});
document.addEventListener("visibilitychange", () => document.hidden || stream.ping());

for (const code of document.querySelectorAll(".origin")) code.textContent = location.origin + address("");
chooseView();
travel.start();
render();
load();
