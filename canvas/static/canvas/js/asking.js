// A question before something is done, in which stays what the server refuses.

import { ApiError } from "./api.js";
import { button, make } from "./panel/dom.js";

/**
 * @param {object} options
 * @param {() => {title: string, text: string, content?: HTMLElement, verb?: string}} options.describe asked again after a
 *   failure; without `verb` there is nothing to do any more
 * @param {() => Promise<void>} options.run raises ApiError
 * @param {boolean} [options.isDestructive]
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ describe, run, isDestructive }) {
  return new Promise((resolve) => {
    const title = make("h2", { id: "asking-title", dir: "auto" });
    const text = make("p", { dir: "auto" });
    const content = make("div");
    const problem = make("p", { class: "dialog-problem", role: "alert", hidden: true });
    const submit = make("button", { class: `button ${isDestructive ? "danger" : "primary"}`, type: "submit" });
    const cancel = button("Cancel", () => dialog.close(), { class: "button", autofocus: true });
    const form = make("form", { onsubmit }, title, text, content, problem, make("div", { class: "dialog-buttons" }, cancel, submit));
    const dialog = make("dialog", { class: "asking", "aria-labelledby": "asking-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    show();
    dialog.showModal();

    function show() {
      const now = describe();
      title.textContent = now.title;
      text.textContent = now.text;
      content.replaceChildren(now.content ?? "");
      submit.textContent = now.verb;
      submit.hidden = !now.verb;
    }

    async function onsubmit(event) {
      event.preventDefault();
      submit.disabled = true;
      problem.hidden = true;
      try {
        await run();
        dialog.close("done");
      } catch (failure) {
        if (!(failure instanceof ApiError)) throw failure;
        show();
        problem.textContent = failure.message;
        problem.hidden = false;
      } finally {
        submit.disabled = false;
      }
    }
  });
}
