// The tab "Connect": commands that connect its agent, and whether it has.

import { setText } from "../card.js";
import { make } from "./dom.js";
import { copied, enrolment } from "./enrolment.js";
import { Part, read } from "./reading.js";

export function show(root, { id, mayAct }) {
  const state = make("p", { class: "panel-connection", role: "status" });
  const commands = new Part("", read(`/workspaces/${id}/connection`), snippets);
  root.append(state, ...(mayAct ? [enrolment(id, ({ connection }) => commands.show(connection))] : []), commands.element);
  return {
    update({ workspace }) {
      const [status, text] = connectionOf(workspace);
      state.dataset.status = status;
      setText(state, text);
    },
    close: () => commands.close(),
  };
}

/** @returns {[string, string]} a status, for its colour, and what it means for the agent */
export function connectionOf({ status, last_heartbeat_at: at }) {
  if (status === "paused") return ["paused", "Paused: its agent can connect, and gets no work until it is resumed."];
  if (["online", "degraded"].includes(status)) return at ? ["online", "Connected."] : ["provisioning", "Registered, waiting for its first heartbeat."];
  return at ? ["offline", "Not connected, waiting for a heartbeat."] : ["provisioning", "Waiting for its first heartbeat."];
}

const snippets = ({ curl_register_template: curl, python_snippet: python }) => [
  ...snippet("In a shell", "panel-curl", "Registers the agent once. The answer has the agent's own token: keep it, it is shown once.", curl),
  ...snippet("In Python", "panel-python", "Registers the agent and sends heartbeats until it is stopped.", python),
];

const snippet = (title, id, what, text) => [
  make("h3", {}, title),
  make("p", { class: "soft" }, what),
  copied(make("pre", { id, tabindex: 0 }, text), id, "Copy"),
];
