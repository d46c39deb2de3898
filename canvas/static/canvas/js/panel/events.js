// The tab "Events": who did what to this workspace, the newest first; in the past, up to then.

import { kindOf } from "../event_summaries.js";
import { addressWith } from "../time_travel.js";
import { make, timeAgo } from "./dom.js";
import { PagedList } from "./reading.js";

const PAGE = 40;

export function show(root, { id, travel, moment }) {
  const path = `/events/${id}?limit=${PAGE}`;
  const list = new PagedList({
    path: moment === null ? path : `${path}&before=${moment + 1}`,
    newerPath: (_headers, rows) => (rows.length ? `${path}&after=${Math.max(...rows.map(({ seq }) => seq))}` : null),
    empty: "No events.",
    show: (event) => entry(event, travel),
  });
  root.append(list.element);
  return {
    onEvent({ seq, workspace_id }) {
      if (seq !== null && workspace_id === id && moment === null) list.catchUpSoon();
    },
    close: () => list.close(),
  };
}

function entry(event, travel) {
  const { seq, created_at } = event;
  const visit = (click) => {
    if (click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    travel.visit(String(seq));
  };
  const link = make("a", { href: addressWith("at", seq), onclick: visit, "aria-label": `Org at this moment, event ${seq}` }, "Org at this moment");
  return make(
    "li",
    { "data-kind": kindOf(event) },
    make("p", { dir: "auto" }, travel.describe(event)),
    make("p", { class: "panel-when" }, timeAgo(created_at), make("span", {}, `#${seq}`), link),
  );
}
