// What a card says: on the canvas and in the list. Names are inserted as text, never as markup.

import { isOpen } from "./layout.js";
import { skillsOf } from "./names.js";
import { make } from "./panel/dom.js";
import { reasonOf, refusalText, stateLabel, worstFirst } from "./states.js";
import { absolute, age, serverNow } from "../../ui/time.js";

const MOST_SKILLS = 4;
const PARTS = {
  fold: ".fold",
  name: ".card-name",
  menu: ".card-menu",
  where: ".card-where",
  role: ".card-role",
  status: ".status",
  word: ".status-word",
  flapping: ".card-flapping",
  flappingWord: ".flapping-word",
  flappingWhy: ".flapping-why",
  task: ".card-task",
  error: ".card-error",
  refusal: ".card-refusal",
  skills: ".card-skills",
  tier: ".tier",
  runtime: ".runtime",
  model: ".model",
  tasks: ".tasks",
  beat: ".beat",
  beatLabel: ".beat-label",
  below: ".below",
  shares: ".shares",
  children: ".children",
};

/** Makes cards of a template and fills them. `names`: see names.js. */
export class Cards {
  names = null;

  constructor(template, { flapping }) {
    this.template = template;
    this.flappingRule = flapping;
  }

  create(id) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const parts = Object.fromEntries(Object.entries(PARTS).map(([part, css]) => [part, element.querySelector(css)]));
    element.dataset.id = id;
    parts.name.href = `?ws=${id}`;
    return { element, parts, node: null };
  }

  /** @param {Node} node */
  fill(card, node) {
    const { workspace, state, isFlapping, needs, below, flapping, size, isFolded, isDimmed, isOnWay, depth } = node;
    const [name, team] = [this.names.textOf(node), this.names.teamOf(node)];
    const own = { workspace, state, isFlapping, needs, isDimmed, isOnWay, depth, name, team };
    const shown = { ...own, below, flapping, size, isFolded, isOpen: isOpen(node) };
    card.node = node;
    if (Object.entries(shown).every(([field, value]) => card[field] === value)) return;
    Object.assign(card, shown);
    showSelf(card, node);
    showFlapping(card.parts, node, this.flappingRule);
    showTeam(card, node);
  }

  /** What the clock alone changes. */
  tick({ parts, node }) {
    showBeat(parts, node.workspace);
    showReason(parts, node);
    showRefusal(parts.refusal, node.workspace);
  }
}

function showSelf({ element, parts, name, team, depth }, node) {
  const { workspace, state, needs } = node;
  element.dataset.status = state;
  element.classList.toggle("needs", needs);
  element.classList.toggle("root", depth === 0);
  element.classList.toggle("dimmed", node.isDimmed);
  element.classList.toggle("on-way", node.isOnWay);
  element.setAttribute("aria-level", depth + 1);
  if (workspace.change) element.dataset.change = workspace.change;
  else delete element.dataset.change;
  setText(parts.name, name);
  parts.name.title = workspace.name;
  parts.menu.setAttribute("aria-label", `Actions for ${name}`);
  show(parts.where, team && `in ${team}`);
  show(parts.role, workspace.role?.split("\n")[0]);
  parts.role.title = workspace.role ?? "";
  parts.status.dataset.status = state;
  setText(parts.word, stateLabel(state));
  showTask(parts, workspace);
  show(parts.skills, skillsOf(workspace.agent_card).slice(0, MOST_SKILLS).join(", "));
  setText(parts.tier, `T${workspace.tier}`);
  parts.tier.title = `Tier ${workspace.tier}`;
  show(parts.runtime, workspace.runtime);
  parts.runtime.title = `Runtime ${workspace.runtime}`;
  show(parts.model, workspace.model?.split(":").at(-1));
  parts.model.title = `Model ${workspace.model}`;
  showBeat(parts, workspace);
  showReason(parts, node);
  showRefusal(parts.refusal, workspace);
}

function showFlapping({ flapping, flappingWord, flappingWhy }, { isFlapping, workspace }, rule) {
  flapping.hidden = !isFlapping;
  setText(flappingWord, isFlapping ? "flapping" : "");
  setText(flappingWhy, rule);
  flapping.title = isFlapping ? `Flapping: ${rule}; until ${absolute(workspace.flapping_until)}` : "";
}

function showTask({ task, tasks }, workspace) {
  const isCurrent = ["online", "degraded"].includes(workspace.status);
  const name = workspace.current_task;
  setText(task, isPast(workspace) ? "" : name ? (isCurrent ? name : `last: ${name}`) : "no task");
  task.title = name ?? "";
  task.classList.toggle("dim", !name || !isCurrent);
  // The one that is named is not counted.
  tasks.hidden = !isCurrent || workspace.active_tasks < (name ? 2 : 1);
  setText(tasks, workspace.active_tasks === 1 ? "1 task" : `${workspace.active_tasks} tasks`);
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

function showReason({ error }, node) {
  const reason = isPast(node.workspace) && node.state === "offline" ? "" : reasonOf(node, serverNow());
  show(error, reason);
  error.title = reason;
}

function showRefusal(element, { last_refusal: refusal }) {
  element.hidden = !refusal;
  if (!refusal) return;
  setText(element, refusalText(refusal, serverNow()));
  element.title = `${element.textContent}\n${absolute(refusal.at)}`;
}

/** Counts by state; a flapping workspace is counted under its state as well. */
const countsOf = ({ below, flapping }) => new Map([...worstFirst(below), ...(flapping ? [["flapping", flapping]] : [])]);

function showTeam({ element, parts, name }, node) {
  const { children, size, isFolded } = node;
  const isTeam = children.length > 0;
  element.classList.toggle("parent", isTeam);
  element.classList.toggle("collapsed", isFolded);
  if (isTeam) element.setAttribute("aria-expanded", String(!isFolded));
  else element.removeAttribute("aria-expanded");
  for (const part of ["fold", "below", "shares", "children"]) if (parts[part]) parts[part].hidden = !isTeam;
  if (!isTeam) return;
  const counts = [...countsOf(node)];
  setText(parts.fold, String(size));
  parts.fold.setAttribute("aria-label", `${isFolded ? "Expand" : "Collapse"} ${name}: ${size} in its team`);
  const team = counts.map(([state, n]) => `${n} ${stateLabel(state)}`).join(", ");
  parts.below.title = `In its team: ${team}`;
  parts.below.replaceChildren(...counts.map(([state, n]) => chip(state, n)));
  if (parts.shares) showShares(parts.shares, [...worstFirst(node.below)].reverse());
}

/** The share of each state, in one bar. */
function showShares(element, counts) {
  const shares = counts.map(([state, n]) => {
    const share = make("i", { "data-status": state });
    share.style.flexGrow = n;
    return share;
  });
  element.replaceChildren(...shares);
}

/** "● 3 online" */
export function chip(state, count) {
  const label = stateLabel(state);
  const word = make("span", { class: "chip-word" }, ` ${label}`);
  return make("span", { class: "chip", "data-status": state, title: `${count} ${label}` }, make("i"), String(count), word);
}

/** Shows a text; without one, nothing. */
function show(element, text) {
  element.hidden = !text;
  setText(element, text || "");
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
