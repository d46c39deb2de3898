// Buttons that copy: <button data-copy="<id of an element>"> copies that element's text and says so. Where the browser
// does not let the page copy, the text is selected, so that the user's own keys copy it.

const COPIED = "Copied";
const SELECTED = "Selected: copy it with your keys";

/** Gives the button that was pressed last its label back; null when it has it. */
let told = null;

/** Puts the element's text into the clipboard. Returns whether it is there. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // There is no clipboard without HTTPS, and it may be forbidden.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** Shows the outcome as the button's label, and for screen readers, until the button is left or another is pressed. */
function tell(button, text) {
  told?.();
  const { textContent: label } = button;
  button.setAttribute("aria-live", "polite");
  button.textContent = text;
  told = () => {
    button.textContent = label;
    told = null;
  };
  button.addEventListener("blur", () => told?.(), { once: true });
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  const element = button && document.getElementById(button.dataset.copy);
  if (element) tell(button, (await copy(element)) ? COPIED : SELECTED);
});
