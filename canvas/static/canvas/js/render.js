// The cards: one element per workspace, updated in place. Names are inserted as text, never as markup.

import { stateLabel } from "./layout.js";
import { absolute, age, serverNow } from "../../ui/time.js";

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
  refusal: ".card-refusal",
  tier: ".tier",
  runtime: ".runtime",
  tasks: ".tasks",
  beat: ".beat",
  beatLabel: ".beat-label",
  below: ".below",
  children: ".children",
};

export class Board {
  #cards = new Map();
  #current = null;

  constructor(stage, template, { workspaceAdmin, flapping }) {
    this.stage = stage;
    this.template = template;
    this.adminUrl = workspaceAdmin;
    this.flappingRule = flapping;
    stage.addEventListener("focusin", ({ target }) => this.#select(target.closest(".card")));
  }

  /** @returns {HTMLElement|null} the card that was focused last */
  get selected() {
    return this.stage.querySelector('.card[aria-selected="true"]');
  }

  /** @param {import("./layout.js").Node[]} roots */
  render(roots) {
    const seen = new Set();
    const focused = document.activeElement;
    this.#fill(this.stage, roots, seen);
    this.#drop(seen, focused);
    if (!this.#current?.isConnected) this.#makeCurrent(this.stage.querySelector(".card"));
  }

  element(id) {
    return this.#cards.get(id)?.element;
  }

  /** The cards that are not inside a collapsed one, in reading order. */
  visible() {
    return [...this.stage.querySelectorAll(".card")].filter((card) => card.getClientRects().length);
  }

  tick() {
    for (const { parts, workspace } of this.#cards.values()) {
      showBeat(parts, workspace);
      showRefusal(parts.refusal, workspace);
    }
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

  /** Removes cards. Focus that was in one moves to its parent; focus that was lost by moving a card comes back. */
  #drop(seen, focused) {
    let target = focused?.isConnected ? focused : null;
    for (const [id, { element }] of this.#cards) {
      if (seen.has(id)) continue;
      if (element.contains(focused)) target = element.parentElement?.closest(".card") ?? this.stage.querySelector(".card");
      element.remove();
      this.#cards.delete(id);
    }
    if (focused !== document.activeElement && this.stage.contains(target)) target.focus({ preventScroll: true });
  }

  #select(card) {
    this.selected?.setAttribute("aria-selected", "false");
    card.setAttribute("aria-selected", "true");
    this.#makeCurrent(card);
  }

  /** Tab reaches one card, the current one, and then its name. */
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
  const { workspace, state, isFlapping } = node;
  const below = [...belowOf(node)].map(([state, n]) => `${n} ${stateLabel(state)}`).join(", ");
  const isRoot = node.depth === 0;
  const shown = { workspace, state, below, isRoot, isFlapping };
  if (Object.entries(shown).every(([name, value]) => card[name] === value)) return;
  Object.assign(card, shown);
  showSelf(card, workspace, state);
  showFlapping(card.parts, node, flappingRule);
  showBelow(card, node, below);
  card.element.classList.toggle("root", isRoot);
  if (!isRoot) card.element.style.transform = "";
}

function showSelf({ element, parts }, workspace, state) {
  element.dataset.status = state;
  if (workspace.change) element.dataset.change = workspace.change;
  else delete element.dataset.change;
  setText(parts.name, workspace.name);
  parts.name.title = workspace.name;
  setText(parts.role, workspace.role?.split("\n")[0] ?? "");
  parts.role.title = workspace.role ?? "";
  parts.status.dataset.status = state;
  setText(parts.word, stateLabel(state));
  showTask(parts, workspace);
  setText(parts.tier, `T${workspace.tier}`);
  parts.tier.title = `Tier ${workspace.tier}`;
  setText(parts.runtime, workspace.runtime);
  showBeat(parts, workspace);
  showRefusal(parts.refusal, workspace);
}

/** Counts by state; a flapping workspace is counted under its state as well. */
const belowOf = ({ below, flapping }) => (flapping ? new Map(below).set("flapping", flapping) : below);

function showFlapping({ flapping, flappingWord, flappingWhy }, { isFlapping, workspace }, rule) {
  flapping.hidden = !isFlapping;
  setText(flappingWord, isFlapping ? "flapping" : "");
  setText(flappingWhy, rule);
  flapping.title = isFlapping ? `Flapping: ${rule}; until ${absolute(workspace.flapping_until)}` : "";
}

function showTask({ task, tasks, error }, workspace) {
  const isCurrent = ["online", "degraded"].includes(workspace.status);
  const name = workspace.current_task;
  setText(task, isPast(workspace) ? "" : name ? (isCurrent ? name : `last: ${name}`) : "no task");
  task.title = name ?? "";
  task.classList.toggle("dim", !name || !isCurrent);
  tasks.hidden = !isCurrent || workspace.active_tasks < 1;
  setText(tasks, workspace.active_tasks === 1 ? "1 task" : `${workspace.active_tasks} tasks`);
  const sample = errorOf(workspace);
  error.hidden = !sample;
  setText(error, sample);
  error.title = sample;
}

function errorOf({ status, last_sample_error, failure }) {
  return { degraded: last_sample_error, failed: failure }[status] ?? "";
}

/** The event log has no heartbeats, so the past has no live values. */
const isPast = ({ active_tasks }) => active_tasks === null;

function showBeat({ beat: time, beatLabel }, workspace) {
  const { last_heartbeat_at: at } = workspace;
  time.hidden = beatLabel.hidden = isPast(workspace);
  setText(time, at ? age(serverNow() - Date.parse(at)) : "none yet");
  if (!at) return time.removeAttribute("title");
  if (time.dateTime === at && time.title) return;
  time.dateTime = at;
  time.title = `Last heartbeat ${absolute(at)}`;
}

/** "Refused 12 times: token revoked, from 10.0.0.1, 2 min ago" */
function showRefusal(element, { last_refusal: refusal }) {
  element.hidden = !refusal;
  if (!refusal) return;
  const { at, count, reason, address } = refusal;
  const times = count === 1 ? "once" : `${count} times`;
  const details = [reason, address && `from ${address}`, age(serverNow() - Date.parse(at))].filter(Boolean);
  setText(element, `Refused ${times}: ${details.join(", ")}`);
  element.title = absolute(at);
}

function showBelow({ element, parts }, node, summary) {
  const { workspace, children, size } = node;
  const isParent = children.length > 0;
  const isCollapsed = isParent && workspace.collapsed;
  element.classList.toggle("parent", isParent);
  element.classList.toggle("collapsed", isCollapsed);
  if (isParent) element.setAttribute("aria-expanded", String(!isCollapsed));
  else element.removeAttribute("aria-expanded");
  parts.fold.hidden = !isParent;
  setText(parts.fold, String(size));
  parts.fold.setAttribute("aria-label", `${isCollapsed ? "Expand" : "Collapse"} ${workspace.name}: ${size} in its team`);
  parts.children.hidden = !isParent || isCollapsed;
  parts.below.hidden = !isParent;
  parts.below.title = `In its team: ${summary}`;
  parts.below.replaceChildren(...[...belowOf(node)].map(([state, n]) => chip(state, n)));
}

/** "● 3 online" */
export function chip(state, count) {
  const element = document.createElement("span");
  const word = document.createElement("span");
  element.className = "chip";
  element.dataset.status = state;
  element.title = `${count} ${stateLabel(state)}`;
  word.className = "chip-word";
  word.textContent = ` ${stateLabel(state)}`;
  element.append(document.createElement("i"), String(count), word);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
