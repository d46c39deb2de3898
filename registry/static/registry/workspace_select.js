// The names that select2 does not give to its own elements: those of the field's label.

django.jQuery(($) => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const [label] = select.labels;
    if (!label) continue;
    label.id ||= `${select.id}-label`;
    for (const part of select.nextElementSibling.querySelectorAll("[role=combobox], [role=textbox]")) {
      part.setAttribute("aria-labelledby", label.id);
    }
    $(select).on("select2:open", () => {
      document.querySelector(".select2-search__field").setAttribute("aria-label", `Search: ${label.textContent.trim()}`);
    });
  }
});
