// The tab "Activity": what its agent did, the newest first; follows what comes; each row opens to request and response.

import { linkOf } from "../api.js";
import { make, timeAgo } from "./dom.js";
import { PagedList } from "./reading.js";

const PAGE = 30;
const TYPES = ["a2a_send", "a2a_receive", "task_update", "agent_log", "error", "skill_promotion", "memory_write"];

export function show(root, { id, nameOf }) {
  const type = make("select", { onchange: restart }, new Option("All types", ""), ...TYPES.map((one) => new Option(labelOf(one), one)));
  const errors = make("input", { type: "checkbox", onchange: restart });
  const follow = make("input", { type: "checkbox", checked: true, onchange: () => follow.checked && list.catchUpSoon() });
  const list = new PagedList({
    path: path(),
    newerPath: (headers) => linkOf(headers, "newer"),
    empty: "No activity.",
    show: (row) => entry(row, id, nameOf),
  });
  const bar = make(
    "div",
    { class: "panel-bar", role: "group", "aria-label": "Filter" },
    make("label", {}, make("span", { class: "hidden-text" }, "Type"), type),
    make("label", {}, errors, " Errors only"),
    make("label", {}, follow, " Follow"),
  );
  root.append(bar, list.element);

  function path() {
    const query = new URLSearchParams({ limit: PAGE, ...(type.value && { type: type.value }), ...(errors.checked && { status: "error,timeout" }) });
    return `/workspaces/${id}/activity?${query}`;
  }

  function restart() {
    list.load(path());
  }

  return {
    onEvent({ event, workspace_id }) {
      if (event === "ACTIVITY_LOGGED" && workspace_id === id && follow.checked) list.catchUpSoon();
    },
    close: () => list.close(),
  };
}

const labelOf = (type) => type.replace("a2a", "A2A").replaceAll("_", " ");

function entry(row, id, nameOf) {
  const { activity_type, method, summary, status, duration_ms, created_at, source_id, target_id, error_detail } = row;
  const other = [source_id !== id && source_id && `from ${nameOf(source_id)}`, target_id && target_id !== id && `to ${nameOf(target_id)}`];
  const about = [
    timeAgo(created_at),
    make("span", {}, [labelOf(activity_type), ...other].filter(Boolean).join(" ")),
    duration_ms !== null && make("span", {}, `${duration_ms} ms`),
    status !== "ok" && make("span", { class: "panel-bad" }, status),
  ];
  const head = make("summary", {}, make("span", { dir: "auto" }, summary || method || labelOf(activity_type)), make("span", { class: "panel-when" }, about));
  const details = make("details", {}, head);
  details.addEventListener("toggle", () => details.append(...bodies(row, error_detail)), { once: true });
  return make("li", { "data-kind": status === "ok" ? null : "failure" }, details);
}

function bodies({ method, request_body, response_body }, error) {
  const side = (title, body) =>
    body !== undefined && body !== null && make("div", {}, make("h4", {}, title), make("pre", { tabindex: 0, "aria-label": title }, pretty(body)));
  const both = [side("Request", request_body), side("Response", response_body)].filter(Boolean);
  return [
    method && make("p", { class: "soft", dir: "auto" }, method),
    error && make("pre", { class: "panel-trouble", tabindex: 0, "aria-label": "Error" }, error),
    both.length ? make("div", { class: "panel-bodies" }, both) : make("p", { class: "soft" }, "Without request and response."),
  ].filter(Boolean);
}

export const pretty = (body) => (typeof body === "string" ? body : JSON.stringify(body, null, 2));
