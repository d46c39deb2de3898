// The tab "Connect": an enrolment token, commands that connect the agent with it, and whether it has connected.

import { ApiError, call } from "../api.js";
import { setText } from "../card.js";
import { button, make } from "./dom.js";
import { Part, read } from "./reading.js";
import { moment } from "../../../ui/time.js";
import "../../../ui/copy.js";

/** @param {{id, mayAct, issued}} options `issued`: the answer with a new enrolment token, if there is one */
export function show(root, { id, mayAct, issued }) {
  const state = make("p", { class: "panel-connection", role: "status" });
  const commands = new Part("", read(`/workspaces/${id}/connection`), (found) => snippets(found, issued?.enrolment_token));
  root.append(state, ...(mayAct ? [enrolment(id, { issued, onIssued: ({ connection }) => commands.show(connection) })] : []), commands.element);
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

/**
 * Issues an enrolment token by a button, and shows it once.
 * @param {string} id @param {{issued: object|null, onIssued: (answer: object) => void}} options as in show()
 */
export function enrolment(id, { issued = null, onIssued }) {
  const shown = make("div", { role: "status" }, issued ? token(issued) : []);
  const issue = button("New enrolment token", run, { class: issued ? "button small" : "button small primary" });
  const section = make(
    "section",
    { class: "part" },
    make("h3", {}, "Enrolment token"),
    make("p", { class: "soft" }, "Lets one agent register, once. A new token replaces an unused one."),
    shown,
    make("p", { class: "panel-actions" }, issue),
  );

  async function run() {
    issue.disabled = true;
    try {
      const { data } = await call("POST", `/workspaces/${id}/enrolment`);
      shown.replaceChildren(...token(data));
      onIssued(data);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      shown.replaceChildren(make("p", { class: "panel-failure", role: "alert" }, `No token was issued: ${failure.message}.`));
    } finally {
      issue.disabled = false;
    }
  }
  return section;
}

const token = ({ enrolment_token: text, expires_at: at }) => [
  copied(make("code", { id: "panel-token" }, text), "panel-token", "Copy token"),
  make("p", { class: "soft" }, "It is not shown again.", at && [" Expires ", make("time", { datetime: at }, moment(at)), "."]),
];

/** The commands, with the token instead of what stands in its place. */
function snippets({ auth_token: place, curl_register_template: curl, python_snippet: python }, token = place) {
  const withToken = (text) => text.replaceAll(place, token);
  return [
    ...snippet("In a shell", "panel-curl", "Registers the agent once. The answer has the agent's own token: keep it, it is shown once.", withToken(curl)),
    ...snippet("In Python", "panel-python", "Registers the agent and sends heartbeats until it is stopped.", withToken(python)),
  ];
}

const snippet = (title, id, what, text) => [
  make("h3", {}, title),
  make("p", { class: "soft" }, what),
  copied(make("pre", { id, tabindex: 0 }, text), id, "Copy"),
];

/** An element with a button that copies its text. */
const copied = (element, id, label) => make("div", { class: "panel-copied" }, element, button(label, null, { "data-copy": id }));
