// What is shown of the workspaces, on the canvas or in the list: tree → places → the cards in view.

import { Board } from "./board.js";
import { Camera } from "./camera.js";
import { Cards } from "./card.js";
import { sift } from "./filtering.js";
import { boxOf, isOpen, layOut, Placement } from "./layout.js";
import { namesOf } from "./names.js";
import { Minimap, paintBlocks, Palette } from "./paint.js";
import { nodeAt, planOf } from "./plan.js";
import { Rows } from "./rows.js";
import { above, Tree } from "./tree.js";
import { fitOf, readableZoom } from "./zoom.js";

/** Views around the one on the screen that are drawn as well: fewer where there are many cards. */
const OVERSCANS = [0.5, 0.2];
const MANY = 360;
/** The part of them that is left when more is drawn. */
const LEFT = 0.3;
/** So few cards are all drawn: the browser's own search and every screen reader find them. */
const FEW = 120;
/** A zoom that goes on is drawn anew at each doubling; in between, what is there is only scaled. */
const ZOOM_STEP = 2;
const $ = (id) => document.getElementById(id);

export class Scene {
  tree = new Tree();
  placement = new Placement();
  /** @type {Node[]|null} what the filter wants; null without one */
  matching = null;
  #plan = null;
  #marks = { selected: null, current: null };
  #isMapOld = true;
  #names = -1;
  #frame = null;

  /** @param {{isCanvas: () => boolean, onMoved: (at) => void, onLook: () => void}} options */
  constructor(dataset, options) {
    this.options = options;
    this.board = new Board($("board"), new Cards($("card"), dataset));
    this.rows = new Rows($("rows"), $("view"), new Cards($("row"), dataset));
    this.palette = new Palette($("probes"));
    this.camera = new Camera($("view"), $("board"), $("dots"), {
      onChange: () => this.drawSoon(),
      onMoved: options.onMoved,
    });
    this.minimap = new Minimap($("minimap"), this.palette, (point) => this.#goTo(point));
  }

  /**
   * Takes what is to be shown; draw() shows it.
   * @param {Map<string, object>} workspaces @param {Folding} folding @param {Filter} filter
   * @returns {boolean} whether other cards are shown
   */
  update(workspaces, folding, filter, now) {
    const isOther = this.tree.update(workspaces, folding, now);
    this.matching = sift(this.tree.nodes, filter, now);
    this.tree.leaveOut(this.matching !== null && !this.options.isCanvas());
    if (isOther) layOut(this.tree.roots);
    this.placement.update(this.tree.roots, isOther);
    if (isOther || this.#names !== this.tree.names) {
      this.board.cards.names = this.rows.cards.names = namesOf(this.tree.nodes.values());
    }
    this.#names = this.tree.names;
    this.#plan = null;
    this.#isMapOld = true;
    return isOther;
  }

  select(id) {
    const current = this.tree.position(id) >= 0 ? id : this.tree.shown[0]?.id;
    if (id === this.#marks.selected && current === this.#marks.current) return;
    this.#marks = { selected: id, current };
    this.#plan = null;
  }

  drawSoon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.draw();
    });
  }

  /** Shows the cards in view. */
  draw() {
    if (!this.options.isCanvas()) return this.#drawRows();
    this.rows.render(null);
    this.camera.draw();
    if (this.#isPlanOld()) this.#drawCards();
    if (this.#isMapOld && !this.camera.isMoving) this.#drawMap();
    this.minimap.show(this.camera.window());
    this.options.onLook();
  }

  tick() {
    (this.options.isCanvas() ? this.board : this.rows).tick();
  }

  /** @returns {HTMLElement|undefined} the card or row, if it is drawn */
  element(id) {
    return (this.options.isCanvas() ? this.board : this.rows).element(id);
  }

  // --- Looking ---------------------------------------------------------------------------------------------

  boxes() {
    return this.tree.roots.map((root) => this.boxOf(root));
  }

  boxOf(node) {
    return boxOf(node, this.placement.places);
  }

  /** Shows everything, or all that the filter wants. */
  fit() {
    const nodes = this.matching?.length ? this.matching.map(visible) : this.tree.roots;
    if (nodes.length) this.camera.move(this.camera.fitting(nodes.map((node) => this.boxOf(node))));
  }

  /** 100%, centred on the selected card, or else on the one nearest to the middle of the view. */
  actualSize() {
    const node = this.tree.nodes.get(this.#marks.selected) ?? this.#nearest();
    if (node) this.camera.move(this.camera.centring(this.#headOf(node, 1), 1));
  }

  /** Shows a card where it can be read: pans as far as needed, and zooms in where it is too small. */
  reveal(node, margin) {
    if (!this.options.isCanvas()) return this.rows.reveal(node.id);
    if (isReadable(node, this.camera.at.zoom)) return this.camera.reveal(this.#headOf(node), margin);
    this.camera.move(this.centred(node));
  }

  /** The camera with a card in the middle, at least as large as can be read. */
  centred(node) {
    let zoom = Math.max(this.camera.at.zoom, readableZoom(node));
    while (zoom < 1 && !isReadable(node, zoom)) zoom = Math.min(1, 1.25 * zoom);
    return this.camera.centring(this.#headOf(node, zoom), zoom);
  }

  /** Looks closer: at all of a team, or at a card in full size. */
  zoomTo(node) {
    const box = this.boxOf(node);
    this.camera.move(isOpen(node) ? this.camera.fitting([box]) : this.camera.centring(box, Math.max(1, this.camera.at.zoom)));
  }

  /** Focuses a card; draws it first, wherever it is. */
  focus(node) {
    this.select(node.id);
    this.draw();
    this.reveal(node);
    this.draw();
    this.element(node.id)?.focus({ preventScroll: true });
  }

  /** The node at a point of the page, behind `except`. */
  nodeAt(clientX, clientY, except) {
    const { zoom } = this.camera.at;
    return nodeAt(this.tree.roots, { places: this.placement.places, zoom, except }, this.camera.pointAt(clientX, clientY));
  }

  // --- Dragging --------------------------------------------------------------------------------------------

  /** Keeps a card at a place of the canvas, wherever it belongs, until release(). */
  hold(node, at) {
    if (!node.parent) this.placement.hold(node.id, at);
    else {
      const { x, y } = this.boxOf(node.parent);
      Object.assign(node, { x: at.x - x, y: at.y - y });
    }
    this.board.move(node.id, node.parent ? node : at);
  }

  /** @param {Node} [node] goes back to where it belongs */
  release(node) {
    this.placement.release();
    if (node?.parent) node.parent.isMoved = true;
    layOut(this.tree.roots);
    this.#plan = null;
  }

  /** Says on the card what letting it go would do, and marks the team that it would go into. */
  mark(id, word, team) {
    for (const one of document.querySelectorAll(".target, [data-word]")) {
      one.classList.remove("target");
      delete one.dataset.word;
    }
    if (word) this.element(id)?.setAttribute("data-word", word);
    this.element(team)?.classList.toggle("target", Boolean(word));
  }

  /** The whole card; of an open team that is larger than the view, its head. */
  #headOf(node, zoom = this.camera.at.zoom) {
    const box = this.boxOf(node);
    const { width, height } = this.camera.size;
    return node.head && (box.width * zoom > width || box.height * zoom > height) ? { ...box, height: node.head } : box;
  }

  #nearest() {
    const { width, height } = this.camera.size;
    const { x, y, zoom } = this.camera.at;
    const middle = { x: (width / 2 - x) / zoom, y: (height / 2 - y) / zoom };
    let [best, least] = [null, Infinity];
    for (const node of this.tree.shown) {
      const box = this.boxOf(node);
      const distance = Math.hypot(box.x + box.width / 2 - middle.x, box.y + (node.head || box.height) / 2 - middle.y);
      if (distance < least) [best, least] = [node, distance];
    }
    return best;
  }

  #goTo({ x, y }) {
    const { width, height } = this.camera.size;
    const { zoom } = this.camera.at;
    this.camera.move({ x: width / 2 - x * zoom, y: height / 2 - y * zoom, zoom });
  }

  // --- Drawing ---------------------------------------------------------------------------------------------

  /** While only the camera moves, what was drawn around the view is enough for some time. */
  #isPlanOld() {
    const plan = this.#plan;
    if (!plan?.isComplete) return true;
    const { zoom } = this.camera.at;
    if (zoom === plan.zoom ? false : !this.camera.isMoving || ratio(zoom, plan.zoom) > ZOOM_STEP) return true;
    return !contains(plan.window, this.camera.window(LEFT * plan.overscan));
  }

  #drawRows() {
    this.#plan = null;
    this.board.render([], 1);
    this.rows.render(this.tree, this.#marks);
  }

  #drawCards() {
    const { zoom } = this.camera.at;
    const { overscan, window, cards, blocks } = this.#planned(zoom);
    const isComplete = this.board.render(cards, zoom);
    this.board.mark(this.#marks.selected, this.#marks.current);
    paintBlocks($("blocks"), blocks, window, zoom, this.palette);
    this.#plan = { zoom, overscan, window, isComplete };
    if (!isComplete) this.drawSoon();
  }

  #planned(zoom) {
    const isWhole = this.tree.shown.length <= FEW;
    const view = { places: this.placement.places, zoom, isWhole, pinned: this.#pinned() };
    let planned = null;
    for (const overscan of OVERSCANS) {
      const window = this.camera.window(overscan);
      planned = { overscan, window, ...planOf(this.tree.roots, { ...view, window }) };
      if (planned.cards.length <= MANY) break;
    }
    return planned;
  }

  /** Cards that are drawn wherever they are: what has the focus, what Tab reaches, and what the past marks. */
  #pinned() {
    const focused = document.activeElement?.closest?.(".card")?.dataset.id;
    const pinned = new Set();
    const pin = (node) => node && [node, ...above(node)].forEach(({ id }) => pinned.add(id));
    for (const id of [focused, this.#marks.selected, this.#marks.current]) {
      if (this.tree.position(id) >= 0) pin(this.tree.nodes.get(id));
    }
    pin(this.marked && this.tree.position(this.marked) >= 0 ? this.tree.nodes.get(this.marked) : null);
    return pinned;
  }

  #drawMap() {
    this.#isMapOld = false;
    this.minimap.paint(this.tree.roots, this.placement.places);
  }
}

/** The node itself, or the folded team that it is in. */
const visible = (node) => [node, ...above(node)].findLast(({ isFolded }, at) => isFolded || at === 0);

function isReadable(node, zoom) {
  return fitOf(node, zoom) !== "block" && [...above(node)].every((team) => fitOf(team, zoom) === "open");
}

const ratio = (a, b) => Math.max(a / b, b / a);

const contains = (outer, { x, y, width, height }) =>
  outer.x <= x && outer.y <= y && outer.x + outer.width >= x + width && outer.y + outer.height >= y + height;
