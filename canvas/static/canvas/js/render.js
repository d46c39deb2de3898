// The cards: one element per workspace, kept and brought up to date. Names are text, never markup.

import { absolute, age, serverNow } from "./time.js";

const PARTS = {
  fold: ".fold",
  name: ".card-name",
  role: ".card-role",
  status: ".status",
  word: ".status-word",
  flapping: ".card-flapping",
  flappingWord: ".flapping-word",
  flappingWhy: ".flapping-why",
  task: ".card-task",
  error: ".card-error",
  tier: ".tier",
  runtime: ".runtime",
  tasks: ".tasks",
  beat: ".beat",
  below: ".below",
  children: ".children",
};

export class Board {
  #cards = new Map();
  #current = null;

  /** @param {HTMLElement} stage @param {HTMLTemplateElement} template */
  constructor(stage, template, { workspaceAdmin, flapping }) {
    this.stage = stage;
    this.template = template;
    this.adminUrl = workspaceAdmin;
    this.flappingRule = flapping;
    stage.addEventListener("focusin", ({ target }) => this.#makeCurrent(target.closest(".card")));
  }

  /** @param {import("./layout.js").Node[]} roots */
  render(roots) {
    const seen = new Set();
    const focused = document.activeElement;
    this.#fill(this.stage, roots, seen);
    this.#drop(seen, focused);
    if (!this.#current?.isConnected) this.#makeCurrent(this.stage.querySelector(".card"));
  }

  /** @returns {HTMLElement|undefined} */
  element(id) {
    return this.#cards.get(id)?.element;
  }

  /** Cards that are not folded away, in reading order. */
  visible() {
    return [...this.stage.querySelectorAll(".card")].filter((card) => card.getClientRects().length);
  }

  tick() {
    for (const { parts, workspace } of this.#cards.values()) showBeat(parts.beat, workspace);
  }

  #fill(container, nodes, seen) {
    nodes.forEach((node, position) => {
      seen.add(node.workspace.id);
      const card = this.#cards.get(node.workspace.id) ?? this.#create(node.workspace.id);
      if (container.children[position] !== card.element) {
        container.insertBefore(card.element, container.children[position] ?? null);
      }
      update(card, node, this.flappingRule);
      this.#fillColumns(card.parts.children, node.columns, seen);
    });
  }

  #fillColumns(container, columns, seen) {
    columns.forEach((nodes, position) => this.#fill(container.children[position] ?? addColumn(container), nodes, seen));
    while (container.children.length > columns.length) container.lastElementChild.remove();
  }

  #create(id) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const parts = Object.fromEntries(Object.entries(PARTS).map(([part, css]) => [part, element.querySelector(css)]));
    element.dataset.id = id;
    const label = ["name", "status", "flappingWord", "task"];
    for (const part of label) parts[part].id = `${part}-${id}`;
    element.setAttribute("aria-labelledby", label.map((part) => `${part}-${id}`).join(" "));
    parts.name.href = `${this.adminUrl}${id}/change/`;
    const card = { element, parts, workspace: null, below: null };
    this.#cards.set(id, card);
    return card;
  }

  /** Removes what is gone. Focus that was in there, or that a move took away, goes where the person was. */
  #drop(seen, focused) {
    let heir = focused?.isConnected ? focused : null;
    for (const [id, { element }] of this.#cards) {
      if (seen.has(id)) continue;
      if (element.contains(focused)) heir = element.parentElement?.closest(".card") ?? this.stage.querySelector(".card");
      element.remove();
      this.#cards.delete(id);
    }
    if (focused !== document.activeElement && this.stage.contains(heir)) heir.focus({ preventScroll: true });
  }

  /** One stop for Tab: the current card, then its name. */
  #makeCurrent(card) {
    if (card === this.#current) return;
    for (const [element, index] of [
      [this.#current, -1],
      [card, 0],
    ]) {
      if (!element) continue;
      element.tabIndex = index;
      this.#cards.get(element.dataset.id)?.parts.name.setAttribute("tabindex", index);
    }
    this.#current = card;
  }
}

function addColumn(container) {
  const column = document.createElement("div");
  column.className = "column";
  column.role = "presentation";
  container.append(column);
  return column;
}

function update(card, node, flappingRule) {
  const { workspace, isFlapping } = node;
  const below = [...belowOf(node)].map(([status, n]) => `${n} ${status}`).join(", ");
  const isRoot = node.depth === 0;
  const shown = { workspace, below, isRoot, isFlapping };
  if (Object.entries(shown).every(([name, value]) => card[name] === value)) return;
  Object.assign(card, shown);
  showSelf(card, workspace);
  showFlapping(card.parts, node, flappingRule);
  showBelow(card, node, below);
  card.element.classList.toggle("root", isRoot);
  if (!isRoot) card.element.style.transform = "";
}

function showSelf({ element, parts }, workspace) {
  const { status } = workspace;
  element.dataset.status = status;
  if (workspace.change) element.dataset.change = workspace.change;
  else delete element.dataset.change;
  setText(parts.name, workspace.name);
  parts.name.title = workspace.name;
  setText(parts.role, workspace.role ?? "");
  parts.role.title = workspace.role ?? "";
  parts.status.dataset.status = status;
  setText(parts.word, status);
  showTask(parts, workspace);
  setText(parts.tier, `T${workspace.tier}`);
  parts.tier.title = `Tier ${workspace.tier}`;
  setText(parts.runtime, workspace.runtime);
  showBeat(parts.beat, workspace);
}

/** What is below, by status, and how many of them are flapping, whatever they are now. */
const belowOf = ({ below, flapping }) => (flapping ? new Map(below).set("flapping", flapping) : below);

function showFlapping({ flapping, flappingWord, flappingWhy }, { isFlapping, workspace }, rule) {
  flapping.hidden = !isFlapping;
  setText(flappingWord, isFlapping ? "flapping" : "");
  setText(flappingWhy, rule);
  flapping.title = isFlapping ? `Flapping: ${rule}; until ${absolute(workspace.flapping_until)}` : "";
}

function showTask({ task, tasks, error }, workspace) {
  const isCurrent = ["online", "degraded"].includes(workspace.status);
  const words = workspace.current_task;
  setText(task, isPast(workspace) ? "" : words ? (isCurrent ? words : `last: ${words}`) : "no task");
  task.title = words ?? "";
  task.classList.toggle("dim", !words || !isCurrent);
  tasks.hidden = !isCurrent || workspace.active_tasks < 1;
  setText(tasks, workspace.active_tasks === 1 ? "1 task" : `${workspace.active_tasks} tasks`);
  const sample = troubleOf(workspace);
  error.hidden = !sample;
  setText(error, sample);
  error.title = sample;
}

function troubleOf({ status, last_sample_error, failure }) {
  return { degraded: last_sample_error, failed: failure }[status] ?? "";
}

/** What only beats say is not on record. */
const isPast = ({ active_tasks }) => active_tasks === null;

function showBeat(time, workspace) {
  const { last_heartbeat_at: at } = workspace;
  time.hidden = isPast(workspace);
  setText(time, at ? age(serverNow() - Date.parse(at)) : "no beat yet");
  if (!at) return time.removeAttribute("title");
  if (time.dateTime === at && time.title) return;
  time.dateTime = at;
  time.title = `Last heartbeat ${absolute(at)}`;
}

function showBelow({ element, parts }, node, words) {
  const { workspace, children, size } = node;
  const isParent = children.length > 0;
  const isFolded = isParent && workspace.collapsed;
  element.classList.toggle("parent", isParent);
  element.classList.toggle("folded", isFolded);
  if (isParent) element.setAttribute("aria-expanded", String(!isFolded));
  else element.removeAttribute("aria-expanded");
  parts.fold.hidden = !isParent;
  setText(parts.fold, String(size));
  parts.fold.setAttribute("aria-label", `${isFolded ? "Unfold" : "Fold"} ${workspace.name}: ${size} inside`);
  parts.children.hidden = !isParent || isFolded;
  parts.below.hidden = !isParent;
  parts.below.title = `Below: ${words}`;
  parts.below.replaceChildren(...[...belowOf(node)].map(([status, n]) => chip(status, n)));
}

/** "● 3 online" */
export function chip(status, count) {
  const element = document.createElement("span");
  element.className = "chip";
  element.dataset.status = status;
  element.append(document.createElement("i"), `${count} ${status}`);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
