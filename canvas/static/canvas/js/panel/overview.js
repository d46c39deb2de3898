// The tab "Overview": how it is, what it does, whom it may talk to, how available it was, and what its Agent Card says.

import { setText } from "../card.js";
import { reasonOf, stateLabel } from "../states.js";
import { moment, serverNow } from "../../../ui/time.js";
import { draw, Facts, make, timeAgo } from "./dom.js";
import { Part, read } from "./reading.js";

const TEAMS = ["WORKSPACE_PROVISIONING", "WORKSPACE_MOVED", "WORKSPACE_REMOVED", "WORKSPACE_COLLAPSED"];

/** So many characters may not fit into the head of the panel. */
const LONG = 90;

export function show(root, { id, mode, open }) {
  const vitals = new Facts();
  const trouble = make("p", { class: "panel-trouble", dir: "auto", hidden: true });
  const card = make("div");
  const own = [trouble, make("section", { class: "part" }, vitals.element)];
  const parts = mode === "live" ? liveParts(id, open) : {};
  root.append(...own, ...Object.values(parts).map(({ element }) => element), card);
  let shownCard;

  return {
    update({ workspace, state }) {
      const error = mode === "live" ? workspace.failure || workspace.last_sample_error : "";
      // What the head says in full is not repeated.
      const isInHead = error === reasonOf({ workspace, state }, serverNow()) && error.length < LONG && !error.includes("\n");
      trouble.hidden = !error || isInHead;
      setText(trouble, error ? `Last error: ${error}` : "");
      vitals.show(mode === "live" ? [...live(workspace), ...lasting(workspace)] : lasting(workspace));
      if (workspace.agent_card !== shownCard) card.replaceChildren(...cardParts(workspace));
      shownCard = workspace.agent_card;
    },
    onEvent({ event, seq, workspace_id }) {
      if (seq === null || mode !== "live") return;
      if (TEAMS.includes(event)) parts.peers.loadSoon();
      if (workspace_id !== id) return;
      parts.availability.loadSoon();
      parts.notes.loadSoon();
      if (event.startsWith("AGENT_")) parts.model.loadSoon();
    },
    close() {
      for (const part of Object.values(parts)) part.close();
    },
  };
}

const live = ({ last_heartbeat_at, active_tasks, last_error_rate, uptime_seconds, current_task }) => [
  ["Last heartbeat", timeAgo(last_heartbeat_at) ?? "none yet"],
  ["Current task", current_task || "no task"],
  ["Active tasks", String(active_tasks)],
  ["Error rate", percent(last_error_rate)],
  ["Uptime", last_heartbeat_at ? span(uptime_seconds) : ""],
];

const lasting = ({ role, tier, runtime, url }) => [
  ["Role", role],
  ["Tier", String(tier)],
  ["Runtime", runtime],
  ["Address", url],
];

function liveParts(id, open) {
  return {
    notes: new Part("", read(`/workspaces/${id}`), problems),
    availability: new Part("Availability, 48 h", read(`/workspaces/${id}/availability`), availability),
    model: new Part("Model", read(`/workspaces/${id}/model`), model),
    peers: new Part("May talk to", read(`/registry/${id}/peers`), (peers) => whom(peers, open)),
  };
}

/** What is wrong and is not in its row of the list. */
function problems({ missing_environment: missing = [], agent_card_problems: wrong = [] }) {
  const lines = [...(missing.length ? [`No secret sets ${missing.join(", ")}, which its config.yaml requires.`] : []), ...wrong.map((one) => `Agent Card: ${one}`)];
  return lines.length ? [make("ul", { class: "panel-problems" }, lines.map((line) => make("li", { dir: "auto" }, line)))] : [];
}

const SOURCES = { workspace_secrets: "set by a secret", default: "not assigned: the agent's own choice" };

const model = ({ model: name, source }) => [make("p", { dir: "auto" }, name || SOURCES[source])];

function whom(peers, open) {
  if (!peers.length) return [make("p", { class: "soft" }, "No other workspace.")];
  const one = ({ id, name, status }) =>
    make("li", { "data-status": status }, make("i", { class: "dot", title: stateLabel(status) }), make("button", { type: "button", class: "link", dir: "auto", onclick: () => open(id) }, name));
  const few = 12;
  const rest = peers.slice(few);
  return [
    make("ul", { class: "panel-peers" }, peers.slice(0, few).map(one)),
    rest.length && make("details", {}, make("summary", {}, `${rest.length} more`), make("ul", { class: "panel-peers" }, rest.map(one))),
  ];
}

function cardParts({ agent_card: card }) {
  if (!card) return [make("section", { class: "part" }, make("h3", {}, "Agent Card"), make("p", { class: "soft" }, "No agent has sent one."))];
  const { name, description, version, provider, interfaces, skills } = readCard(card);
  const facts = new Facts();
  facts.show([["Name", name], ["Description", description], ["Provider", provider], ["Version", version], ["Interfaces", interfaces.join("\n")]]);
  const list = skills.map(({ name, description: what }) => make("li", { dir: "auto" }, make("strong", {}, name), what && ` ${what}`));
  return [
    make("section", { class: "part" }, make("h3", {}, "Agent Card"), facts.element),
    skills.length && make("section", { class: "part" }, make("h3", {}, "Skills"), make("ul", { class: "panel-skills" }, list)),
  ].filter(Boolean);
}

// --- Availability: one part of a strip for each stretch of time in which the status was the same ------------

const HEIGHT = 22;
const UNIT = 10;

/** @param {{from, to, strip: (string|null)[]}} found @returns {{status, start, length, from, to}[]} times as ISO */
export function runsOf({ from, to, strip }) {
  const runs = [];
  const [begin, step] = [Date.parse(from), (Date.parse(to) - Date.parse(from)) / Math.max(1, strip.length)];
  strip.forEach((status, n) => {
    if (runs.at(-1)?.status !== status) runs.push({ status, start: n, length: 0, from: new Date(begin + n * step).toISOString() });
    runs.at(-1).length += 1;
    runs.at(-1).to = new Date(begin + (n + 1) * step).toISOString();
  });
  return runs;
}

/** "99.2%", without rounding up to 100%. @param {number} ratio */
export const percent = (ratio) => (ratio === 1 ? "100%" : `${Math.floor(ratio * 1000) / 10}%`);

/** "2 d 3 h": the two largest units. */
export function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const counts = units.map(([unit, size], n) => [Math.floor((n ? seconds % units[n - 1][1] : seconds) / size), unit]);
  const first = counts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return counts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const countOf = ({ length }) => (length === 1 ? "1 outage" : `${length || "no"} outages`);

/** "99.2%, 1 outage"; of less than the whole time it says of how much. */
export function summaryOf({ ratio, outages, from, to, up_seconds: up, down_seconds: down }) {
  if (ratio === null) return "No heartbeats were expected in this time.";
  const isWhole = up + down > 0.98 * ((Date.parse(to) - Date.parse(from)) / 1000);
  const part = isWhole ? "" : ` of the ${span(up + down)} in which heartbeats were expected`;
  return `${percent(ratio)}${part}, ${countOf(outages)}`;
}

export function availability(found) {
  const { strip, ratio, from, to } = found;
  const label = summaryOf(found);
  if (ratio === null) return [make("p", { class: "soft" }, label)];
  const parts = runsOf(found).map(({ status, start, length, from, to }) =>
    draw(
      "rect",
      { "data-status": status ?? "none", x: start * UNIT, width: length * UNIT - 1, height: HEIGHT },
      draw("title", {}, `${moment(from)} to ${moment(to)}: ${status ? stateLabel(status) : "not expected"}`),
    ),
  );
  const size = `0 0 ${strip.length * UNIT} ${HEIGHT}`;
  return [
    make("p", { class: "soft" }, label),
    draw("svg", { class: "panel-strip", viewBox: size, preserveAspectRatio: "none", role: "img", "aria-label": label }, parts),
    make("p", { class: "panel-ends", "aria-hidden": "true" }, make("span", {}, moment(from)), make("span", {}, "now")),
  ];
}

// --- Agent Cards, in all the shapes that agents send ---------------------------------------------------------

const text = (value) => (typeof value === "string" ? value.trim() : "");
const list = (value) => (Array.isArray(value) ? value : []);

/** @returns {{name, description, version, provider, interfaces: string[], skills: {name, description}[]}} texts may be "" */
export function readCard(card) {
  return {
    name: text(card?.name),
    description: text(card?.description),
    version: text(card?.version),
    provider: text(card?.provider?.organization) || text(card?.provider),
    interfaces: [...new Set(interfacesOf(card ?? {}).map(described))],
    skills: list(card?.skills).map(skillOf).filter(({ name }) => name),
  };
}

function interfacesOf({ url, preferredTransport, supportedInterfaces, additionalInterfaces }) {
  const own = text(url) ? [{ url, transport: preferredTransport }] : [];
  return [...own, ...list(supportedInterfaces), ...list(additionalInterfaces)].filter((one) => text(one?.url));
}

/** "JSONRPC 1.0 at https://…" */
function described({ url, protocolBinding, transport, protocolVersion }) {
  const how = [text(protocolBinding) || text(transport), text(protocolVersion)].filter(Boolean).join(" ");
  return how ? `${how} at ${text(url)}` : text(url);
}

function skillOf(skill) {
  if (typeof skill === "string") return { name: skill.trim(), description: "" };
  return { name: text(skill?.name) || text(skill?.id) || text(skill?.skill_id), description: text(skill?.description) };
}
