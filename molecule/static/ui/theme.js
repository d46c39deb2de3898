// Adopts a theme chosen in another tab of the canvas or the admin. Django's admin/js/theme.js keeps the choice of this one.

addEventListener("storage", ({ key, newValue }) => {
  if (key === "theme" || key === null) document.documentElement.dataset.theme = newValue ?? "auto";
});
