// What an event says, in words, and what kind of news it is. Pure.

/** @typedef {{seq: number, event_type: string, workspace_id: string|null, payload: any, actor: string,
 *   created_at: string}} EventRow as GET /events answers it */

/**
 * One line. Whoever did it comes first, unless it happened by itself: "operator:op moved QA from Engineering to
 * Research", "Backend went offline: lease expired".
 * @param {EventRow} event @param {(id: string) => string} nameOf the name of a workspace at that moment
 */
export function summarize(event, nameOf) {
  const { event_type, workspace_id, actor } = event;
  const payload = event.payload ?? {};
  const name = payload.name ?? nameOf(workspace_id);
  if (!Object.hasOwn(SENTENCES, event_type)) return `${name}: ${event_type}`;
  const { by, alone } = SENTENCES[event_type](name, payload, nameOf, workspace_id);
  return alone && (!by || isItself(actor)) ? alone : `${actor} ${by}`;
}

/** How the card of the event's workspace is marked. */
export function changeOf({ event_type, payload }) {
  if (event_type === "WORKSPACE_REMOVED") return "removed";
  return event_type === "WORKSPACE_PROVISIONING" && !("from" in (payload ?? {})) ? "added" : "changed";
}

/** For the strip: what went wrong, what came up, what the people changed. */
export const kindOf = ({ event_type }) => KINDS[event_type] ?? "structure";

const KINDS = {
  WORKSPACE_OFFLINE: "trouble",
  WORKSPACE_DEGRADED: "trouble",
  WORKSPACE_PROVISION_FAILED: "trouble",
  WORKSPACE_REMOVED: "removal",
  WORKSPACE_ONLINE: "well",
};

const isItself = (actor) => !actor || actor === "supervisor" || actor.startsWith("workspace:");

// (name, payload, nameOf, workspace_id) → `by` follows who did it, `alone` stands by itself.
const SENTENCES = {
  WORKSPACE_PROVISIONING(name, { from, parent_id }, nameOf) {
    if (from) return { by: `${from === "paused" ? "resumed" : "restarted"} ${name}`, alone: `${name} starts again` };
    const where = parent_id ? ` in ${nameOf(parent_id)}` : "";
    return { by: `created ${name}${where}`, alone: `${name} was created${where}` };
  },
  WORKSPACE_ONLINE: (name, { from }) => ({
    alone: `${name} ${{ degraded: "recovered", offline: "came back online", online: "registered again" }[from] ?? "came online"}`,
  }),
  WORKSPACE_OFFLINE: (name, { reason, flapping_until }) => ({
    alone: `${name} went offline${flapping_until ? " again and again" : ""}${after(reason)}`,
  }),
  WORKSPACE_DEGRADED: (name, { error_rate, sample_error }) => ({
    alone: `${name} degraded${after(list([percent(error_rate), sample_error]))}`,
  }),
  WORKSPACE_PROVISION_FAILED: (name, { error, reason }) => ({ alone: `${name} failed${after(error ?? reason)}` }),
  WORKSPACE_PAUSED: (name) => ({ by: `paused ${name}`, alone: `${name} was paused` }),
  WORKSPACE_UPDATED: updated,
  WORKSPACE_MOVED(name, { old_parent_id, new_parent_id }, nameOf) {
    const place = (id) => (id ? nameOf(id) : "the top level");
    const way = `from ${place(old_parent_id)} to ${place(new_parent_id)}`;
    return { by: `moved ${name} ${way}`, alone: `${name} moved ${way}` };
  },
  WORKSPACE_REMOVED(name, { cascade_deleted, forwarded_to }, nameOf) {
    const below = cascade_deleted ? ` and ${cascade_deleted} below` : "";
    const heir = forwarded_to ? `, forwarded to ${nameOf(forwarded_to)}` : "";
    return { by: `removed ${name}${below}${heir}`, alone: `${name}${below} went for good${heir}` };
  },
  WORKSPACE_EXPANDED(name, { children = [] }) {
    const team = after(list(children.map((child) => child.name)));
    return { by: `gave ${name} a team${team}`, alone: `${name} got a team${team}` };
  },
  WORKSPACE_COLLAPSED(name, { removed_children = [] }) {
    const team = after(list(removed_children));
    return { by: `dissolved the team of ${name}${team}`, alone: `${name} gave up its team${team}` };
  },
  AGENT_ASSIGNED: (name, { model }) => ({ by: `assigned ${model} to ${name}`, alone: `${name} got ${model} as its agent` }),
  AGENT_REMOVED: (name, { model, reason }) => ({
    by: `took ${model} from ${name}${after(reason)}`,
    alone: `${name} lost its agent ${model}${after(reason)}`,
  }),
  AGENT_REPLACED: (name, { old_model, new_model }) => ({
    by: `replaced ${old_model} with ${new_model} in ${name}`,
    alone: `${name} has ${new_model} in place of ${old_model}`,
  }),
  AGENT_MOVED(name, { model, from_workspace_id, to_workspace_id }, nameOf) {
    const way = `from ${nameOf(from_workspace_id)} to ${nameOf(to_workspace_id)}`;
    return { by: `moved the agent ${model} ${way}`, alone: `The agent ${model} moved ${way}` };
  },
  AGENT_CARD_UPDATED: (name) => ({ by: `changed the agent card of ${name}`, alone: `${name} changed its agent card` }),
};

function updated(name, { changes = {} }, nameOf, id) {
  const fields = Object.keys(changes);
  const [old, now] = changes[fields[0]] ?? [];
  const has = (field) => fields.length === 1 && fields[0] === field;
  if (has("name")) return { by: `renamed ${old} to ${now}`, alone: `${old} is now called ${now}` };
  const subject = "name" in changes ? changes.name[0] : nameOf(id);
  if (has("forwarded_to")) {
    const way = now ? `to ${nameOf(now)}` : "nowhere any more";
    return { by: `forwarded ${subject} ${way}`, alone: `${subject} is forwarded ${way}` };
  }
  const what = list(fields).replaceAll("_", " ");
  const step = fields.length === 1 && !has("agent_card") ? ` from ${shown(old)} to ${shown(now)}` : "";
  return { by: `changed the ${what} of ${subject}${step}`, alone: `${subject} changed its ${what}${step}` };
}

const shown = (value) => value ?? "nothing";
const after = (text) => (text ? `: ${text}` : "");
const list = (words) => words.filter(Boolean).join(", ");
const percent = (rate) => (typeof rate === "number" ? `${Math.round(rate * 100)} % errors` : "");
