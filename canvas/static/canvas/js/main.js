// Connects the parts of the page: server → store → page, and the user's actions → store and server.

import { Acting } from "./acting.js";
import { call, soon } from "./api.js";
import { chooseFile, followDrops } from "./drops.js";
import { Feed } from "./feed.js";
import { Filters } from "./filters.js";
import { packed, remembered } from "./folding.js";
import { followCardKeys, followPageKeys } from "./keys.js";
import { isPlaced } from "./layout.js";
import { Moving } from "./moving.js";
import { addressed, Panel } from "./panel.js";
import { followClicks, followDrags } from "./pointer.js";
import { Scene } from "./scene.js";
import { isCanvas, Shell, showLevels, startViewing } from "./shell.js";
import { createStore, currentFolding, currentWorkspaces } from "./store.js";
import { above } from "./tree.js";
import { serverNow } from "../../ui/time.js";
import { TimeTravel } from "./time_travel.js";
import { Timeline } from "./timeline.js";

const ZOOM_STEP = 1.25;
const FOLDS = "molecule.canvas.folds";
const $ = (id) => document.getElementById(id);

const app = document.body;
const mayAct = app.dataset.mayAct === "true";
const store = createStore();
const shell = new Shell();
const scene = new Scene(app.dataset, { isCanvas, onMoved: cameraMoved, onLook: showZoom });
const { camera } = scene;
const travel = new TimeTravel({ active: () => currentWorkspaces(store.state), onChange: renderSoon });
const filters = new Filters(store, travel, shell, openFound);
const timeline = new Timeline(travel, (id) => reveal(id, 64));
const panel = new Panel({
  mayAct,
  mayAdminister: app.dataset.mayAdminister === "true",
  travel,
  find: (id) => scene.tree.nodes.get(id),
  nameOf: (id) => currentWorkspaces(store.state).get(id)?.name ?? `workspace ${id.slice(0, 8)}`,
  onOpen: showOpened,
  focusCard,
});
const verbs = JSON.parse($("verbs")?.textContent ?? "[]");
const toast = (message, options) => shell.toast(message, options);
const moving = new Moving({ store, scene, mayMove, render, toast });
const acting = new Acting({
  verbs,
  mayAct: mayMove,
  find: (id) => scene.tree.nodes.get(id),
  focus: (id) => (scene.element(id) ? scene.element(id).focus({ preventScroll: true }) : focusCard(id)),
  toast,
  run: {
    open: (id) => panel.open(id, undefined, { withFocus: true }),
    fold: toggle,
    add: create,
    move: (id) => moving.choose(id),
    duplicate: async (id) => {
      const node = scene.tree.nodes.get(id);
      (await bundles())?.duplicate(node, imported(`Duplicated ${node.workspace.name} as`));
    },
    export: async (id) => (await bundles())?.exportBundle(scene.tree.nodes.get(id), toast),
  },
});
const feed = new Feed(store, shell, { onEvent: received });

// --- Rendering -------------------------------------------------------------------------------------------

let frame = null;
let past = null;
/** Where the camera was before the past; null in the present. */
let liveCamera = null;
let isCameraReady = false;
store.subscribe(renderSoon);

const shownWorkspaces = () => travel.shown?.workspaces ?? currentWorkspaces(store.state);

function renderSoon() {
  frame ??= requestAnimationFrame(render);
}

function render() {
  const before = past;
  past = travel.shown;
  const workspaces = shownWorkspaces();
  if (Boolean(past) !== Boolean(before)) {
    if (past) scene.placement.keep();
    else scene.placement.restore();
    store.dispatch({ type: "past", workspaces: past && workspaces });
  }
  cancelAnimationFrame(frame);
  frame = null;
  shell.render(store.state, workspaces, travel);
  timeline.render(shell.isPast);
  // Nothing arrives in a view of the past.
  scene.marked = past?.event?.workspace_id ?? null;
  const folding = currentFolding(store.state);
  const isOther = scene.update(workspaces, folding, store.state.filter, serverNow());
  moving.update();
  filters.render(scene.tree, scene.matching);
  scene.select(store.state.selected);
  if (isCanvas() && scene.tree.roots.length) lookAt(before);
  if (isOther) showLevels(scene.tree, folding);
  scene.draw();
  if (/board|empty/.test(app.dataset.state)) focusAddressed();
  showCreated();
  panel.update();
  acting.update();
}

function received(event) {
  travel.onEvent(event);
  panel.onEvent(event);
}

/** The past has a camera of its own, which is forgotten with it. */
function lookAt(before) {
  if (!isCameraReady) restoreCamera();
  isCameraReady = true;
  if (past && !before) {
    liveCamera = camera.at;
    if (!camera.sees(camera.at, scene.boxes())) camera.set(camera.fitting(scene.boxes()));
  } else if (!past && liveCamera) {
    camera.set(liveCamera);
    liveCamera = null;
  }
}

setInterval(() => {
  if (document.hidden) return;
  shell.tick();
  timeline.tick();
  scene.tick();
  panel.tick();
  if (serverNow() >= scene.tree.nextChangeAt || store.state.filter.stale) renderSoon();
}, 1000);

// --- Moving ----------------------------------------------------------------------------------------------

function mayMove() {
  return mayAct && !travel.shown;
}

followDrags({
  view: $("view"),
  camera,
  mayMove,
  isCanvas,
  placeOf: (id) => scene.boxOf(scene.tree.nodes.get(id)),
  onDrag: (id, at, event) => moving.drag(id, at, event),
  onDrop: (id, at, event) => moving.drop(id, at, event),
});

// --- Folds, which this browser remembers -----------------------------------------------------------------

function toggle(id) {
  const node = scene.tree.nodes.get(id);
  if (!node?.children.length) return;
  const before = scene.boxOf(node);
  store.dispatch({ type: "fold", id, isFolded: !node.isFolded });
  keepFolds();
  render();
  const after = scene.boxOf(node);
  // The card stays under the pointer, whatever moves around it.
  const { x, y, zoom } = camera.at;
  if (isCanvas()) camera.set({ x: x + (before.x - after.x) * zoom, y: y + (before.y - after.y) * zoom, zoom });
}

function keepFolds() {
  if (!travel.shown) localStorage.setItem(FOLDS, packed(store.state.folding));
}

function chooseLevel(level) {
  store.dispatch({ type: "level", level });
  keepFolds();
  scene.placement.forget();
  render();
  if (isCanvas()) scene.fit();
}

// --- Finding a workspace ---------------------------------------------------------------------------------

/** Opens the teams that hide a workspace. @returns {Node|undefined} */
function opened(id) {
  const node = scene.tree.nodes.get(id);
  const folded = node ? [...above(node)].filter(({ isFolded }) => isFolded) : [];
  for (const team of folded) store.dispatch({ type: "fold", id: team.id, isFolded: false });
  if (folded.length) render();
  return node;
}

/** Shows a workspace, wherever it is. */
function reveal(id, margin) {
  const node = opened(id);
  if (node) scene.reveal(node, margin);
}

/** The view is smaller beside the panel: the card must not be behind it. */
function showOpened(id) {
  camera.measure();
  store.dispatch({ type: "select", id });
  scene.select(id);
  reveal(id);
}

function focusCard(id) {
  const node = opened(id);
  if (node) scene.focus(node);
  else $("view").focus();
}

let isAddressNew = true;

/** Opens, shows and focuses the workspace of ?ws=, once. */
function focusAddressed() {
  if (!isAddressNew) return;
  isAddressNew = false;
  const { id } = addressed();
  if (!id) return;
  if (panel.followAddress()) return shell.toast(`Workspace ${id} is not shown here. It may have been removed.`);
  const node = opened(id);
  if (isCanvas()) camera.set(scene.centred(node));
  scene.focus(node);
}

function openFound(id) {
  focusCard(id);
  panel.open(id);
}

for (const container of [$("board"), $("rows")]) {
  followCardKeys({
    container,
    tree: scene.tree,
    onFocus: (node) => scene.focus(node),
    onToggle: toggle,
    onOpen: (id) => panel.open(id, undefined, { withFocus: true }),
    onNudge: (id, dx, dy) => isCanvas() && moving.nudge(id, dx, dy),
    onMenu: (id) => acting.openMenu(id, scene.element(id).querySelector(".card-menu").getBoundingClientRect()),
  });
  container.addEventListener("click", ({ target }) => {
    const fold = target.closest(".fold");
    if (fold) toggle(fold.closest(".card").dataset.id);
  });
  container.addEventListener("focusin", ({ target }) => {
    const { id } = target.closest(".card").dataset;
    store.dispatch({ type: "select", id });
    // Now, not with the next frame: a key that is pressed before it concerns this card.
    scene.select(id);
    if (isCanvas() && target.matches(":focus-visible")) scene.reveal(scene.tree.nodes.get(id));
  });
}

followClicks({ view: $("view"), scene, isCanvas, onOpen: (id) => panel.open(id), onMenu: (id, at) => acting.openMenu(id, at) });
$("panel-actions").addEventListener("click", ({ target }) => acting.openMenu(panel.id, target.getBoundingClientRect(), target));

// --- Creating --------------------------------------------------------------------------------------------

/** The workspace that was just created here, until it is shown. */
let created = null;

/** @param {string|null} parent the lead of the team, if any */
async function create(parent) {
  if (!mayAct || travel.shown) return;
  const creating = await shell.loaded(import("./creating.js"));
  creating?.openCreating({ nodes: scene.tree.nodes, parent, then: (answer) => (created = answer) && renderSoon() });
}

function showCreated() {
  if (!created || !scene.tree.nodes.has(created.id)) return;
  const issued = created;
  created = null;
  if (issued.enrolment_token) panel.open(issued.id, "connect", { issued, withFocus: true });
  else focusCard(issued.id);
}

const bundles = () => shell.loaded(import("./bundles.js"));

/** @param {string} word what was done */
const imported = (word) => ({ workspace_id: id, name }) => {
  created = { id };
  toast(`${word} ${name}.`, { isDone: true });
  renderSoon();
};

/** @param {File} file a bundle */
async function importBundle(file) {
  if (!travel.shown) (await bundles())?.importFile(file, { nodes: scene.tree.nodes, then: imported("Imported"), toast });
}

if (mayAct) {
  followDrops({ page: app, onFile: importBundle });
  $("import-bundle").addEventListener("click", () => chooseFile(importBundle));
}

for (const button of document.querySelectorAll(".create")) button.addEventListener("click", () => create(null));

// --- Camera ----------------------------------------------------------------------------------------------

function restoreCamera() {
  const { viewport } = feed;
  const isUntouched = !viewport || (!isPlaced(viewport) && viewport.zoom === 1);
  const boxes = scene.boxes();
  camera.set(isUntouched || !camera.sees(viewport, boxes) ? camera.fitting(boxes) : viewport);
}

function cameraMoved({ x, y, zoom }) {
  if (!mayAct || travel.shown) return;
  soon("viewport", () =>
    call("PUT", "/canvas/viewport", { x, y, zoom }).catch((failure) =>
      shell.toast(`Could not save the view: ${failure.message}`),
    ),
  );
}

function showZoom() {
  const text = `${Math.round(camera.at.zoom * 100)}%`;
  if ($("zoom").textContent === text) return;
  // Only the text changes: a change of the list of children costs the browser a look at every `:has()`, in each frame.
  $("zoom").firstChild.data = text;
  $("zoom").setAttribute("aria-label", `${text}: zoom to 100%`);
}

const cameraKeys = {
  "+": () => camera.zoom(ZOOM_STEP),
  "=": () => camera.zoom(ZOOM_STEP),
  "-": () => camera.zoom(1 / ZOOM_STEP),
  0: () => scene.actualSize(),
  f: () => scene.fit(),
};
const onCanvas = (run) => () => isCanvas() && run();
followPageKeys({
  ...Object.fromEntries(Object.entries(cameraKeys).map(([key, run]) => [key, onCanvas(run)])),
  "/": () => filters.search(),
  n: () => create(null),
  h: () => timeline.toggle(),
  Escape: () => shell.closeMenu() || filters.close() || panel.close() || timeline.escape(),
  "?": () => $("keys").showModal(),
});

const buttons = {
  "zoom-in": cameraKeys["+"],
  "zoom-out": cameraKeys["-"],
  zoom: cameraKeys[0],
  fit: cameraKeys.f,
  "show-keys": () => $("keys").showModal(),
  "load-now": () => feed.retry(),
  "connect-now": () => feed.stream.retry(),
};
for (const [id, run] of Object.entries(buttons)) $(id).addEventListener("click", run);

// --- The browser -----------------------------------------------------------------------------------------

addEventListener("storage", ({ key, newValue }) => key === FOLDS && store.dispatch({ type: "remember", folding: remembered(newValue) }));

store.dispatch({ type: "remember", folding: remembered(localStorage.getItem(FOLDS)) });
startViewing(renderSoon, chooseLevel);
travel.start();
render();
feed.load();
