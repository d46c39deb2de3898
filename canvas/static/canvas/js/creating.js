// The dialog that creates a workspace, from nothing or from a template, at the top level or in a team.

import { ApiError, call } from "./api.js";
import { pathOf } from "./tree.js";

const dialog = document.getElementById("creating");
const form = dialog.querySelector("form");
const { name, parent_id: team, template } = form.elements;
const about = dialog.querySelector(".creating-about");
const problem = dialog.querySelector(".dialog-problem");
const submit = dialog.querySelector("[type=submit]");

let templates = null;
let onCreated = null;

/**
 * Opens the dialog.
 * @param {{nodes: Map<string, Node>, parent: string|null, then: (created: {id, enrolment_token}) => void}} options
 */
export async function openCreating({ nodes, parent, then }) {
  if (dialog.open) return;
  onCreated = then;
  form.reset();
  show(problem, "");
  show(about, "");
  const lead = nodes.get(parent)?.workspace.name;
  document.getElementById("creating-title").textContent = lead ? `Add a member to ${lead}` : "Create a workspace";
  team.replaceChildren(new Option("Top level", ""), ...teams(nodes, parent));
  team.value = parent ?? "";
  dialog.showModal();
  name.focus();
  await loadTemplates();
}

/** Those that lead a team, and the one that was chosen. Any other becomes a lead by "Add member" on its card. */
export function teams(nodes, parent = null) {
  const leads = [...nodes.values()].filter((node) => node.children.length || node.id === parent);
  const options = leads.map((node) => new Option(pathOf(node), node.id));
  return options.sort((one, other) => one.text.localeCompare(other.text));
}

async function loadTemplates() {
  if (templates) return;
  try {
    const { data } = await call("GET", "/templates");
    templates = data.filter(({ problem: broken }) => !broken);
    template.append(...templates.map(({ id, name: title }) => new Option(title || id, id)));
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    show(about, `Templates could not be loaded: ${failure.message}.`);
  }
}

template.addEventListener("change", () => {
  const chosen = templates?.find(({ id }) => id === template.value);
  show(about, chosen?.description ?? "");
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  submit.disabled = true;
  show(problem, "");
  try {
    const { data } = await call("POST", "/workspaces", wanted());
    dialog.close();
    onCreated(data);
  } catch (failure) {
    if (!(failure instanceof ApiError)) throw failure;
    show(problem, `Not created: ${failure.message}.`);
    name.focus();
  } finally {
    submit.disabled = false;
  }
});

/** The body of the request, without what was left empty. */
const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));

dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());

function show(element, text) {
  element.textContent = text;
  element.hidden = !text;
}
