// One line of English for each event, and how the canvas marks it. Pure: no DOM, no network.

/** @typedef {{seq: number, event_type: string, workspace_id: string|null, payload: any, actor: string,
 *   created_at: string}} EventRow one event of GET /events */

/**
 * "ann moved QA from Engineering to Research", "Backend went offline: lease expired". The actor comes first, unless
 * the workspace or the supervisor caused the event.
 * @param {EventRow} event @param {(id: string) => string} nameOf returns the name of a workspace at that moment
 */
export function summarize(event, nameOf) {
  const { event_type, workspace_id, actor } = event;
  const payload = event.payload ?? {};
  const name = payload.name ?? nameOf(workspace_id);
  if (!Object.hasOwn(SENTENCES, event_type)) return `${name}: ${event_type}`;
  const { by, alone } = SENTENCES[event_type](name, payload, nameOf, workspace_id);
  return !by || isAutomatic(actor) ? alone : `${actorLabel(actor)} ${by}`;
}

/** "ann" for "operator:ann#7", "command import" for "command:import"; others as they are. */
export function actorLabel(actor) {
  return actor.replace(/^operator:(.+?)(#\d+)?$/, "$1").replace(/^command:(?=.)/, "command ");
}

/** How to mark the card of the event's workspace: "added", "changed" or "removed". */
export function changeOf({ event_type, payload }) {
  if (event_type === "WORKSPACE_REMOVED") return "removed";
  return event_type === "WORKSPACE_PROVISIONING" && !("from" in (payload ?? {})) ? "added" : "changed";
}

/** Which group of strokes on the timeline shows the event. */
export const kindOf = ({ event_type }) => KINDS[event_type] ?? "structure";

const KINDS = {
  WORKSPACE_OFFLINE: "failure",
  WORKSPACE_DEGRADED: "failure",
  WORKSPACE_PROVISION_FAILED: "failure",
  WORKSPACE_REMOVED: "removal",
  WORKSPACE_ONLINE: "recovery",
};

const isAutomatic = (actor) => !actor || actor === "supervisor" || actor.startsWith("workspace:");

// (name, payload, nameOf, workspace_id) → `by` follows the name of the actor, `alone` is a sentence without an actor.
const SENTENCES = {
  WORKSPACE_PROVISIONING(name, { from, parent_id }, nameOf) {
    if (from === "paused") return { by: `resumed ${name}`, alone: `${name} was resumed` };
    if (from) return { by: `marked ${name} as restarting`, alone: `${name} was marked as restarting` };
    const where = parent_id ? ` in ${nameOf(parent_id)}` : "";
    return { by: `created ${name}${where}`, alone: `${name} was created${where}` };
  },
  WORKSPACE_ONLINE: (name, { from }) => ({
    alone: `${name} ${{ degraded: "recovered", offline: "came back online", online: "registered again" }[from] ?? "came online"}`,
  }),
  WORKSPACE_OFFLINE: (name, { reason, flapping_until }) => ({
    alone: `${name} went offline${flapping_until ? " repeatedly" : ""}${after(reason)}`,
  }),
  WORKSPACE_DEGRADED: (name, { error_rate, sample_error, runtime_state }) => ({
    alone: `${name} degraded${after(list([runtime_state, percent(error_rate), sample_error]))}`,
  }),
  WORKSPACE_PROVISION_FAILED: (name, { error, reason }) => ({ alone: `${name} failed${after(error ?? reason)}` }),
  WORKSPACE_PAUSED: (name) => ({ by: `paused ${name}`, alone: `${name} was paused` }),
  WORKSPACE_UPDATED: updated,
  WORKSPACE_MOVED(name, { old_parent_id, new_parent_id }, nameOf) {
    const position = (id) => (id ? nameOf(id) : "the top level");
    const route = `from ${position(old_parent_id)} to ${position(new_parent_id)}`;
    return { by: `moved ${name} ${route}`, alone: `${name} moved ${route}` };
  },
  WORKSPACE_REMOVED(name, { cascade_deleted, forwarded_to }, nameOf) {
    const team = cascade_deleted ? ` and ${cascade_deleted} in its team` : "";
    const successor = forwarded_to ? `, forwarded to ${nameOf(forwarded_to)}` : "";
    return { by: `removed ${name}${team}${successor}`, alone: `${name}${team} ${cascade_deleted ? "were" : "was"} removed${successor}` };
  },
  WORKSPACE_EXPANDED(name, { children = [] }) {
    const team = after(list(children.map((child) => child.name)));
    return { by: `added a team to ${name}${team}`, alone: `${name} has a new team${team}` };
  },
  WORKSPACE_COLLAPSED(name, { removed_children = [] }) {
    const team = after(list(removed_children));
    return { by: `removed the team of ${name}${team}`, alone: `The team of ${name} was removed${team}` };
  },
  AGENT_ASSIGNED: (name, { model }) => ({ by: `assigned ${model} to ${name}`, alone: `${model} was assigned to ${name}` }),
  AGENT_REMOVED: (name, { model, reason }) => ({
    by: `removed ${model} from ${name}${after(reason)}`,
    alone: `${model} was removed from ${name}${after(reason)}`,
  }),
  AGENT_REPLACED: (name, { old_model, new_model }) => ({
    by: `replaced ${old_model} with ${new_model} in ${name}`,
    alone: `${new_model} replaced ${old_model} in ${name}`,
  }),
  AGENT_MOVED(name, { model, from_workspace_id, to_workspace_id }, nameOf) {
    const route = `from ${nameOf(from_workspace_id)} to ${nameOf(to_workspace_id)}`;
    return { by: `moved ${model} ${route}`, alone: `${model} moved ${route}` };
  },
  AGENT_CARD_UPDATED: (name) => ({ by: `changed the agent card of ${name}`, alone: `${name} changed its agent card` }),
};

function updated(name, { changes = {}, files = {} }, nameOf, id) {
  const fields = Object.keys(changes);
  const paths = Object.keys(files);
  const [old, now] = changes[fields[0]] ?? [];
  const has = (field) => fields.length === 1 && fields[0] === field;
  if (has("name")) return { by: `renamed ${old} to ${now}`, alone: `${old} was renamed to ${now}` };
  const subject = "name" in changes ? changes.name[0] : nameOf(id);
  if (has("forwarded_to")) {
    if (!now) return { by: `stopped forwarding ${subject}`, alone: `${subject} is no longer forwarded` };
    return { by: `forwarded ${subject} to ${nameOf(now)}`, alone: `${subject} is forwarded to ${nameOf(now)}` };
  }
  if (paths.length && !fields.length) {
    const what = paths.length === 1 ? paths[0] : `${paths.length} files`;
    return { by: `changed ${what} of ${subject}`, alone: `${subject} changed ${what}` };
  }
  const names = list(fields).replaceAll("_", " ");
  const values = fields.length === 1 && !has("agent_card") ? ` from ${valueLabel(old)} to ${valueLabel(now)}` : "";
  return { by: `changed the ${names} of ${subject}${values}`, alone: `${subject} changed its ${names}${values}` };
}

const valueLabel = (value) => value ?? "nothing";
const after = (text) => (text ? `: ${text}` : "");
const list = (words) => words.filter(Boolean).join(", ");
const percent = (rate) => (typeof rate === "number" ? `${Math.round(rate * 100)}% errors` : "");
