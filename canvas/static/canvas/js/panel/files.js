// The tab "Files": what its agent is made of, with an editor. What is not saved waits while other tabs are looked at.

import { ApiError, call } from "../api.js";
import { button, make, timeAgo } from "./dom.js";
import { Part, read } from "./reading.js";

/** What the editors had and nobody has saved, by workspace and path. @type {Map<string, Draft>} */
const drafts = new Map();
/** The file that each workspace had open last, by workspace. @type {Map<string, string>} */
const opened = new Map();
const CHANGED = "Somebody else has saved this file since you opened it.";
const DELETED = "Somebody else has deleted this file since you opened it.";

/** @typedef {{text: string, sha256: string}} Draft a text, and the hash of the content that it began with */

/** The paths of the texts that were not saved before somebody deleted their files. */
const lost = (id, files) => {
  const paths = [...drafts.keys()].filter((key) => key.startsWith(id)).map((key) => key.slice(id.length + 1));
  return paths.filter((path) => files.every((file) => file.path !== path)).map((path) => ({ path }));
};

export function show(root, { id, mayAct }) {
  let path = null;
  let editor = null;
  const list = new Part("", read(`/workspaces/${id}/files`), (saved) => {
    const files = [...saved, ...lost(id, saved)];
    path ??= (files.find((one) => one.path === opened.get(id)) ?? files[0])?.path ?? null;
    if (!editor && path) open(path);
    return rows(files, { path, open, isDraft: (one) => drafts.has(`${id} ${one}`) });
  });
  const place = make("div");
  root.append(list.element, ...(mayAct ? [newFile(create)] : []), place);

  function open(wanted) {
    path = wanted;
    opened.set(id, path);
    editor?.close();
    editor = openEditor(id, wanted, { mayAct, onChange: () => list.loadSoon() });
    place.replaceChildren(editor.element);
    list.loadSoon();
  }

  async function create(wanted) {
    await write(id, wanted, "", { "If-None-Match": "*" });
    open(wanted);
  }

  return {
    onEvent({ event, workspace_id, payload }) {
      if (event !== "WORKSPACE_UPDATED" || workspace_id !== id || !payload?.files) return;
      list.loadSoon();
      if (path in payload.files) editor?.changed(payload.files[path][1]);
    },
    close() {
      list.close();
      editor?.close();
    },
  };
}

const address = (id, path) => `/workspaces/${id}/files/${path.split("/").map(encodeURIComponent).join("/")}`;
const write = async (id, path, content, conditions) => (await call("PUT", address(id, path), { content }, undefined, conditions)).data;

function rows(files, { path, open, isDraft }) {
  if (!files.length) return [make("p", { class: "soft" }, "No files yet. An agent is usually made of config.yaml, system-prompt.md and skills/.")];
  const row = (file) =>
    make(
      "li",
      {},
      make("button", { type: "button", class: "link", dir: "auto", "aria-current": file.path === path && "true", onclick: () => open(file.path) }, file.path),
      make("span", { class: "soft" }, isDraft(file.path) ? "not saved" : sizeOf(file.size)),
    );
  return [make("ul", { class: "panel-files" }, files.map(row))];
}

/** "1.2 kB" @param {number} bytes */
export const sizeOf = (bytes) => (bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`);

function newFile(create) {
  const said = make("p", { role: "status", class: "panel-failure" });
  const field = make("input", { name: "path", required: true, maxlength: 255, placeholder: "skills/search/SKILL.md", spellcheck: "false", "aria-label": "Path of the new file" });
  const form = make("form", { class: "panel-bar", autocomplete: "off", onsubmit: submit }, field, make("button", { class: "button small" }, "New file"), said);

  async function submit(event) {
    event.preventDefault();
    try {
      await create(field.value.trim());
      form.reset();
      said.textContent = "";
    } catch ({ status, message }) {
      said.textContent = `Not created: ${status === 412 ? "there is such a file" : message}.`;
    }
  }
  return form;
}

/** @returns {{element: HTMLElement, changed: (sha256: string) => void, close: () => void}} */
function openEditor(id, path, { mayAct, onChange }) {
  const key = `${id} ${path}`;
  /** Its content with the line breaks of a text field; without a hash once it is deleted. */
  let saved = null;
  let isCrlf = false;
  const text = make("textarea", { rows: 18, spellcheck: "false", "aria-label": `Text of ${path}`, readonly: !mayAct, oninput: edited, onkeydown });
  const said = make("p", { role: "status", class: "soft" });
  const save = button("Save", () => store({ "If-Match": drafts.get(key)?.sha256 ?? saved.sha256 }), { class: "button small primary" });
  const anyway = button("", () => store(saved.sha256 ? { "If-Match": saved.sha256 } : { "If-None-Match": "*" }));
  const discard = button("Discard", () => keep(null));
  const more = make("a", { href: `${document.body.dataset.workspaceAdmin}${id}/files/?${new URLSearchParams({ path })}` }, "Upload, history and delete in the admin");
  const actions = make("p", { class: "panel-actions" }, save, anyway, discard);
  const part = new Part(path, readFile, shown);

  async function readFile(signal) {
    try {
      return await read(address(id, path))(signal);
    } catch (failure) {
      if (failure.status !== 404 || !drafts.has(key)) throw failure;
      return { sha256: null, content: "" };
    }
  }

  function shown(file) {
    saved = file;
    isCrlf = file.content.includes("\r\n");
    const byWhom = file.sha256 && make("p", { class: "panel-when" }, make("span", {}, sizeOf(file.size)), make("span", {}, "saved ", timeAgo(file.updated_at)));
    if (file.encoding) return [byWhom, make("p", {}, "This is not a text."), more];
    text.value = file.content;
    saved.content = text.value;
    text.value = drafts.get(key)?.text ?? saved.content;
    refresh();
    return [byWhom, text, ...(mayAct ? [actions] : []), said, more];
  }

  function edited() {
    keep(text.value === saved.content ? null : text.value);
  }

  function onkeydown(event) {
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!save.hidden) save.click();
  }

  /** @param {string|null} draft */
  function keep(draft) {
    if (draft !== null) drafts.set(key, { text: draft, sha256: drafts.get(key)?.sha256 ?? saved.sha256 });
    else drafts.delete(key);
    if (draft === null && saved.content === null) part.load();
    else if (draft === null) text.value = saved.content;
    refresh();
    onChange();
  }

  /** Somebody has saved or deleted it, perhaps here. A text that is being written stays where it is. */
  function changed(sha256) {
    if (sha256 === saved?.sha256) return;
    if (!drafts.has(key)) return part.loadSoon();
    Object.assign(saved, { sha256, content: null });
    refresh();
  }

  /** @param {string} [outcome] */
  function refresh(outcome = "") {
    const draft = drafts.get(key);
    const isOther = Boolean(draft) && draft.sha256 !== saved.sha256;
    save.hidden = isOther;
    anyway.hidden = !isOther;
    anyway.textContent = saved.sha256 ? "Save over theirs" : "Save it again";
    save.disabled = discard.disabled = !draft;
    said.textContent = isOther ? (saved.sha256 ? CHANGED : DELETED) : outcome;
  }

  async function store(conditions) {
    save.disabled = anyway.disabled = true;
    const content = text.value;
    try {
      const { sha256, size } = await write(id, path, isCrlf ? content.replaceAll("\n", "\r\n") : content, conditions);
      Object.assign(saved, { content, sha256, size });
      // What was typed meanwhile is a draft of what is saved now.
      drafts.delete(key);
      if (text.value !== content) drafts.set(key, { text: text.value, sha256 });
      refresh("Saved.");
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      if (failure.status === 412) await part.load();
      else said.textContent = `Not saved: ${failure.message}.`;
    } finally {
      save.disabled = !drafts.has(key);
      anyway.disabled = false;
      onChange();
    }
  }

  return { element: part.element, changed, close: () => part.close() };
}
