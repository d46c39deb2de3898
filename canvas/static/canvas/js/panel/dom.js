// Elements of the panel. Texts are inserted as text, never as markup.

import { absolute, age, serverNow } from "../../../ui/time.js";

const SVG = "http://www.w3.org/2000/svg";

/** make("p", { class: "soft", onclick: run }, "text", child): attributes that are false or null are left out, as children are. */
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for a part of a drawing. */
export function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

export const button = (text, onclick, attributes = {}) => make("button", { class: "button small", type: "button", onclick, ...attributes }, text);

/** "3 min ago", kept up to date by ages.js; null without a time. */
export function timeAgo(iso) {
  if (!iso) return null;
  return make("time", { datetime: iso, title: absolute(iso), "data-relative": true }, age(serverNow() - Date.parse(iso)));
}

/** Names and values, of which those without a value are not shown; what has not changed stays as it is. */
export class Facts {
  #values = new Map();
  element = make("dl", { class: "facts" });

  /** @param {[string, string|Node|null][]} rows always in the same order */
  show(rows) {
    for (const [label, value] of rows) {
      const row = this.#values.get(label) ?? this.#add(label);
      const key = value?.dateTime ?? value?.textContent ?? value ?? "";
      row.hidden = key === "";
      if (row.key !== key) row.lastChild.replaceChildren(value ?? "");
      row.key = key;
    }
  }

  #add(label) {
    const row = make("div", {}, make("dt", {}, label), make("dd", { dir: "auto" }));
    this.#values.set(label, row);
    this.element.append(row);
    return row;
  }
}
