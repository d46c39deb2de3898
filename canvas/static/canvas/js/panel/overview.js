// The tab "Overview": how it is, what it does, whom it may talk to, and what its Agent Card says.

import { setText } from "../card.js";
import { availability, percent, span } from "./availability.js";
import { readCard } from "./agent_card.js";
import { Facts, make, timeAgo } from "./dom.js";
import { Part, read } from "./reading.js";

const TEAMS = ["WORKSPACE_PROVISIONING", "WORKSPACE_MOVED", "WORKSPACE_REMOVED", "WORKSPACE_COLLAPSED"];

export function show(root, { id, mode, open }) {
  const vitals = new Facts();
  const trouble = make("p", { class: "panel-trouble", dir: "auto", hidden: true });
  const card = make("div");
  const own = [trouble, make("section", { class: "part" }, vitals.element)];
  const parts = mode === "live" ? liveParts(id, open) : {};
  root.append(...own, ...Object.values(parts).map(({ element }) => element), card);
  let shownCard;

  return {
    update({ workspace }) {
      const error = mode === "live" ? workspace.failure || workspace.last_sample_error : "";
      trouble.hidden = !error;
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
    make("li", { "data-status": status }, make("i", { class: "dot", title: status }), make("button", { type: "button", class: "link", dir: "auto", onclick: () => open(id) }, name));
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
