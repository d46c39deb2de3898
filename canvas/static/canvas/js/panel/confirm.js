// A question before something that cannot be undone.

import { button, make } from "./dom.js";

/** @param {string} verb on the button that does it @returns {Promise<boolean>} whether it was pressed */
export function confirmed(question, verb) {
  return new Promise((resolve) => {
    const choose = (value) => () => dialog.close(value);
    const dialog = make(
      "dialog",
      { class: "panel-question", "aria-label": verb },
      make("p", {}, question),
      make("p", { class: "panel-actions" }, button("Cancel", choose(""), { autofocus: true }), button(verb, choose("yes"), { class: "button small danger" })),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
