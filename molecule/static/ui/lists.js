// Lists: closes an open filter, and counts what is chosen. Everything works without it.

import { BACKGROUND } from "./background.js";

const form = document.getElementById("changelist-form");
const bar = form?.querySelector(".action-bar");

function openFilters() {
  return document.querySelectorAll("details.filter[open]");
}

addEventListener("click", ({ target }) => {
  for (const filter of openFilters()) if (!filter.contains(target)) filter.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const filter of openFilters()) {
    filter.open = false;
    if (filter.contains(document.activeElement)) filter.querySelector("summary").focus();
    event.preventDefault(); // otherwise the drawer around it closes too
  }
});

/** What the bar says of `count` chosen rows. */
export function chosenLabel(count, total, across) {
  if (across) return `All ${total.toLocaleString("en")} chosen`;
  return count ? `${count.toLocaleString("en")} chosen` : "";
}

if (bar) {
  const label = bar.querySelector(".chosen");
  const all = bar.querySelector("button.all");
  const across = bar.querySelector("[name=select_across]");
  const boxes = () => [...form.querySelectorAll(".action-select")];
  const toggle = () => form.querySelector("#action-toggle");

  const show = () => {
    const shown = boxes();
    const count = shown.filter((box) => box.checked).length;
    if (count < shown.length) across.value = "0";
    label.textContent = chosenLabel(count, Number(label.dataset.total), across.value === "1");
    bar.hidden = count === 0;
    if (all) all.hidden = count < shown.length || across.value === "1";
    // An empty list has no table.
    if (toggle()) Object.assign(toggle(), { checked: count > 0 && count === shown.length, indeterminate: count > 0 && count < shown.length });
  };

  form.addEventListener("change", ({ target }) => {
    if (target === toggle()) for (const box of boxes()) box.checked = target.checked;
    show();
  });
  all?.addEventListener("click", () => {
    across.value = "1";
    show();
  });
  show();
}

/** Puts the members of a team into its branch when it is opened for the first time. */
async function load(branch) {
  const url = branch.dataset.load;
  if (!url) return;
  delete branch.dataset.load;
  const answer = await fetch(url, { headers: { Accept: "text/html", ...BACKGROUND } }).catch(() => null);
  const page = answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  const members = page?.querySelector(".tree");
  if (!members) {
    branch.dataset.load = url;
    return;
  }
  const left = branch.querySelector(".load");
  // The page of a very large team has further pages, to which its link still leads.
  if (page.querySelector(".paginator")) left.before(members);
  else left.replaceWith(members);
}

document.querySelector(".tree-card")?.addEventListener("toggle", ({ target }) => target.open && load(target), true);
