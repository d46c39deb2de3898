// Bundles: asks with what one would create and all that is wrong with it; downloads one; copies a workspace.

import { ApiError, call } from "./api.js";
import { ask } from "./asking.js";
import { teams } from "./creating.js";
import { make } from "./panel/dom.js";
import { descendants } from "./tree.js";

const SECRETS = "Secrets are not in a bundle: set them afterwards. Every agent gets a token of its own when it is connected.";
const COPIED = "Files, settings and models are copied; secrets, tokens and history are not.";
const MEND = "Nothing can be imported before this is mended:";

/**
 * Asks about the bundle in a file.
 * @param {File} file
 * @param {{nodes: Map<string, Node>, then: (created: {workspace_id, name}) => void, toast: (message: string) => void}} options
 */
export async function importFile(file, { nodes, then, toast }) {
  try {
    const bundle = await parsed(file);
    const { data } = await call("POST", "/bundles/import?dry_run=true", bundle);
    const team = make("select", {}, new Option("Top level", ""), ...teams(nodes));
    const run = async () => then((await call("POST", `/bundles/import${team.value && `?parent_id=${team.value}`}`, bundle)).data);
    ask({ describe: () => described(data, team), run });
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    toast(`${file.name} cannot be imported: ${failure.message}`);
  }
}

/** Downloads a workspace and its team. @param {Node} node @param {(message: string) => void} toast */
export async function exportBundle({ id, workspace: { name } }, toast) {
  try {
    const { data, headers } = await call("GET", `/bundles/export/${id}`);
    const href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
    const [, download] = /filename="([^"]+)"/.exec(headers.get("Content-Disposition")) ?? [];
    make("a", { href, download }).click();
    setTimeout(() => URL.revokeObjectURL(href));
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    toast(`Nothing was exported of ${name}: ${failure.message}`);
  }
}

/** @param {Node} node @param {(created: {workspace_id, name}) => void} then */
export function duplicate(node, then) {
  const count = [...descendants(node)].length;
  const name = make("input", { placeholder: `${node.workspace.name} (copy)`, maxlength: 255 });
  const team = make("input", { type: "checkbox", checked: true });
  const content = make(
    "div",
    { class: "creating" },
    make("label", {}, "Name ", name),
    count > 0 && make("label", { class: "creating-check" }, team, ` With its team of ${count}`),
  );
  const describe = () => ({ title: `Duplicate ${node.workspace.name}?`, text: COPIED, content, verb: "Duplicate" });
  const run = async () => then((await call("POST", `/workspaces/${node.id}/duplicate`, { name: name.value.trim() || undefined, with_team: team.checked })).data);
  ask({ describe, run });
}

async function parsed(file) {
  try {
    return JSON.parse(await file.text());
  } catch {
    throw new ApiError(0, "it is not a bundle");
  }
}

function described({ count, workspaces, problems }, team) {
  const tree = make("ul", { class: "importing-tree", tabindex: 0, "aria-label": "What would be created" }, workspaces.map(row));
  const wrong = problems.map(({ where, error }) => make("li", {}, make("code", {}, where), ` ${error}`));
  return {
    title: `Import ${workspaces[0]?.name || "a bundle"}`,
    text: problems.length ? MEND : SECRETS,
    content: make("div", { class: "creating" }, ...(wrong.length ? [make("ul", { class: "dialog-problem" }, wrong)] : [make("label", {}, "Team ", team)]), tree),
    verb: wrong.length ? "" : `Import ${count === 1 ? "1 workspace" : `${count} workspaces`}`,
  };
}

const row = ({ name, role, files, children }) =>
  make(
    "li",
    {},
    make("span", { dir: "auto" }, make("strong", {}, name), ` ${[role, files && (files === 1 ? "1 file" : `${files} files`)].filter(Boolean).join(" · ")}`),
    children.length > 0 && make("ul", {}, children.map(row)),
  );
