// Files that are dropped on the page, or chosen in a dialog of the browser.

/** @param {{page: HTMLElement, onFile: (file: File) => void}} options `page` has the class "dropping" while files are over it */
export function followDrops({ page, onFile }) {
  const hasFiles = ({ dataTransfer }) => Boolean(dataTransfer?.types.includes("Files")) && !document.querySelector("dialog[open]");
  page.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    page.classList.add("dropping");
  });
  page.addEventListener("dragleave", ({ relatedTarget }) => !relatedTarget && page.classList.remove("dropping"));
  page.addEventListener("drop", (event) => {
    page.classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    onFile(event.dataTransfer.files[0]);
  });
}

export function chooseFile(onFile) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: ".json,application/json" });
  input.addEventListener("change", () => onFile(input.files[0]));
  input.click();
}
