// The tab "Access": the tokens with which its agent comes in, and a new enrolment token.

import { ask } from "../asking.js";
import { call } from "../api.js";
import { enrolment } from "./connect.js";
import { button, make, timeAgo } from "./dom.js";
import { Part, read } from "./reading.js";

const KINDS = { agent: "Agent", enrolment: "Enrolment" };
/** What comes with another token, or ends one. */
const CHANGES = ["ENROLMENT_UPDATED", "WORKSPACE_ONLINE"];

export function show(root, { id, mayAdminister }) {
  const tokens = mayAdminister ? new Part("Tokens", read(`/workspaces/${id}/tokens`), ({ tokens }) => rows(tokens, revoke)) : null;
  root.append(...(tokens ? [tokens.element] : []), enrolment(id, { onIssued: () => tokens?.load() }));

  function revoke({ id: token, prefix, kind }) {
    const effect = kind === "enrolment" ? "No agent can register with it." : "The agent that uses it is refused at once, and its connections are closed.";
    ask({
      describe: () => ({ title: `Revoke ${prefix}…?`, text: `${effect} This cannot be undone.`, verb: "Revoke token" }),
      run: () => call("DELETE", `/workspaces/${id}/tokens/${token}`),
      isDestructive: true,
    }).then(() => tokens.load());
  }

  return {
    onEvent({ workspace_id, event }) {
      if (workspace_id === id && CHANGES.includes(event)) tokens?.loadSoon();
    },
    close: () => tokens?.close(),
  };
}

function rows(tokens, revoke) {
  if (!tokens.length) return [make("p", { class: "soft" }, "There are no valid tokens.")];
  return [make("ul", { class: "panel-list" }, tokens.map((token) => row(token, revoke)))];
}

function row(token, revoke) {
  const { prefix, kind, label, created_at, last_used_at, expires_at, may_reveal } = token;
  const facts = [
    make("span", {}, KINDS[kind] ?? kind, label && `: ${label}`),
    make("span", {}, "created ", timeAgo(created_at)),
    make("span", {}, last_used_at ? ["used ", timeAgo(last_used_at)] : "never used"),
    expires_at && make("span", {}, `expires ${new Date(expires_at).toLocaleString()}`),
    may_reveal && make("span", {}, "may read secrets"),
  ];
  return make(
    "li",
    { class: "panel-row" },
    make("div", {}, make("code", {}, `${prefix}…`), make("p", { class: "panel-when" }, facts)),
    button("Revoke…", () => revoke(token), { "aria-label": `Revoke ${prefix}` }),
  );
}
