// Imports a bundle: asks with what it would create, and with all that is wrong with it.

import { ask } from "./acting.js";
import { ApiError, call } from "./api.js";
import { teams } from "./creating.js";
import { make } from "./panel/dom.js";

const SECRETS = "Secrets are not in a bundle: set them afterwards. Every agent gets a token of its own when it is connected.";
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
