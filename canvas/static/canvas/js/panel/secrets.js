// The tab "Secrets": which there are, and where each comes from; values are written and never read.

import { ask } from "../asking.js";
import { call } from "../api.js";
import { button, make, timeAgo } from "./dom.js";
import { Part, read } from "./reading.js";

export function show(root, { id }) {
  const list = new Part("", readBoth(id), (secrets) => rows(secrets, { replace, remove }));
  const form = newForm(save);
  root.append(list.element, form);

  async function save({ key, value, scope }) {
    await call("POST", scope === "global" ? "/settings/secrets" : `/workspaces/${id}/secrets`, { key, value });
    await list.load();
  }

  function replace({ key, scope }) {
    form.elements.key.value = key;
    form.elements.scope.value = scope;
    form.elements.value.focus();
  }

  function remove({ key, scope, overrides }) {
    const path = scope === "global" ? "/settings/secrets" : `/workspaces/${id}/secrets`;
    const text = `${effectOf({ scope, overrides })} This cannot be undone.`;
    ask({
      describe: () => ({ title: `Delete ${key}?`, text, verb: "Delete secret" }),
      run: () => call("DELETE", `${path}/${key}`),
      isDestructive: true,
    }).then(() => list.load());
  }

  return { close: () => list.close() };
}

/** The secrets of the workspace and those for all, of which its own hide some. */
const readBoth = (id) => async (signal) => {
  const [merged, all] = await Promise.all([read(`/workspaces/${id}/secrets`)(signal), read("/settings/secrets")(signal)]);
  return withOverrides(merged, all);
};

/** @returns {{key, scope, updated_at, overrides: boolean}[]} `overrides`: used instead of one for all workspaces */
export function withOverrides(merged, all) {
  const global = new Set(all.map(({ key }) => key));
  return merged.map((secret) => ({ ...secret, overrides: secret.scope === "workspace" && global.has(secret.key) }));
}

const effectOf = ({ scope, overrides }) =>
  scope === "global" ? "No workspace can read it any more." : overrides ? "The agent then uses the one for all workspaces." : "The agent can no longer read it.";

function rows(secrets, { replace, remove }) {
  if (!secrets.length) return [make("p", { class: "soft" }, "No secrets yet.")];
  return [make("ul", { class: "panel-list" }, secrets.map((secret) => row(secret, { replace, remove })))];
}

const row = (secret, { replace, remove }) =>
  make(
    "li",
    { class: "panel-row" },
    make("div", {}, make("code", {}, secret.key), make("p", { class: "panel-when" }, scopeOf(secret), timeAgo(secret.updated_at))),
    button("Replace…", () => replace(secret), { "aria-label": `Replace ${secret.key}` }),
    button("Delete…", () => remove(secret), { "aria-label": `Delete ${secret.key}` }),
  );

const scopeOf = ({ scope, overrides }) =>
  make("span", {}, scope === "global" ? "All workspaces" : `This workspace${overrides ? ", instead of the one for all" : ""}`);

function newForm(save) {
  const said = make("p", { role: "status", class: "soft" });
  const form = make(
    "form",
    { class: "part panel-form", autocomplete: "off", onsubmit: submit },
    make("h3", {}, "Set a secret"),
    make("p", { class: "soft" }, "Write-only: values are never shown again."),
    labelled("Key", make("input", { name: "key", required: true, pattern: "[A-Za-z_][A-Za-z0-9_]{0,127}", title: "Letters, digits and underscores", spellcheck: "false" })),
    labelled("Value", make("input", { name: "value", type: "password", required: true, autocomplete: "new-password" })),
    labelled("For", make("select", { name: "scope" }, new Option("This workspace", "workspace"), new Option("All workspaces", "global"))),
    make("p", { class: "panel-actions" }, make("button", { class: "button small primary" }, "Set secret")),
    said,
  );

  async function submit(event) {
    event.preventDefault();
    const { key, value, scope } = Object.fromEntries(new FormData(form));
    try {
      await save({ key, value, scope });
      form.reset();
      said.textContent = `Saved ${key}.`;
    } catch ({ message }) {
      said.textContent = `Could not save ${key}: ${message}.`;
    }
  }
  return form;
}

const labelled = (text, field) => make("label", {}, make("span", {}, text), field);
