// A new enrolment token: issued by a button, shown once.

import { ApiError, call } from "../api.js";
import { button, make } from "./dom.js";
import "../../../ui/copy.js";

/** @param {(issued: object) => void} onIssued gets the answer of POST /workspaces/{id}/enrolment */
export function enrolment(id, onIssued = () => {}) {
  const shown = make("div", { role: "status" });
  const issue = button("New enrolment token", run, { class: "button small primary" });
  const section = make(
    "section",
    { class: "part" },
    make("h3", {}, "Enrolment token"),
    make("p", { class: "soft" }, "Lets one agent register, once. A new token replaces the one that nobody has used."),
    make("p", { class: "panel-actions" }, issue),
    shown,
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

const token = ({ enrolment_token: text, expires_at }) => [
  copied(make("code", { id: "panel-token" }, text), "panel-token", "Copy token"),
  make("p", { class: "soft" }, "It is not shown again. Expires ", make("time", { datetime: expires_at }, new Date(expires_at).toLocaleString()), "."),
];

/** An element with a button that copies its text. */
export const copied = (element, id, label) =>
  make("div", { class: "panel-copied" }, element, button(label, null, { "data-copy": id }));
