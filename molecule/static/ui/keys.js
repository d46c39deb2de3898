// Keys of a page: single ones and sequences such as "g w". Links and buttons with data-key="g w" have theirs there, so that
// the help is rendered from what works.

import { keyHint, labelOf } from "./palette.js";

const SEQUENCE_MS = 1500;
const TEXT = "input:not([type=checkbox], [type=radio], [type=range], [type=submit]), textarea, select, [contenteditable]";

/**
 * What a key does after those before it. @param {string[]} before @param {{keys: string}[]} bindings
 * @returns {{before: string[], found: object|undefined}} the keys of a sequence that may go on, and a binding
 */
export function pressed(before, key, bindings) {
  const sequence = [...before, key].join(" ");
  const found = bindings.find(({ keys }) => keys === sequence);
  if (found) return { before: [], found };
  if (bindings.some(({ keys }) => keys.startsWith(`${sequence} `))) return { before: [...before, key], found };
  return before.length ? pressed([], key, bindings) : { before: [], found };
}

function ofThePage() {
  const found = document.querySelectorAll("[data-key]:not([hidden])");
  return [...found].map((one) => ({ keys: one.dataset.key, label: labelOf(one), run: () => one.click() }));
}

/** @param {{keys: string, label: string, run: () => void}[]} own those that are no link or button of the page */
export function startKeys(own) {
  const help = document.getElementById("keys");
  const all = () => [...own, { keys: "?", label: help.querySelector("h2").textContent, run: showHelp }, ...ofThePage()];
  let before = [];
  let timer;

  function showHelp() {
    const rows = all().map(({ keys, label }) => {
      const [row, term, words] = ["div", "dt", "dd"].map((name) => document.createElement(name));
      term.append(keyHint(keys));
      words.textContent = label;
      row.append(term, words);
      return row;
    });
    help.querySelector("dl").replaceChildren(...rows);
    help.showModal();
  }

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || key === "Shift") return;
    if (document.querySelector("dialog[open]") || target.closest?.(TEXT)) return;
    const { before: next, found } = pressed(before, key, all());
    before = next;
    clearTimeout(timer);
    timer = setTimeout(() => (before = []), SEQUENCE_MS);
    if (!found && !before.length) return;
    event.preventDefault();
    found?.run();
  });
  for (const button of document.querySelectorAll("[data-shows-keys]")) {
    button.hidden = false;
    button.addEventListener("click", showHelp);
  }
}
