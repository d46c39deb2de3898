// The icon of the tab has the number that its title begins with: "(2) Molecule".

const SIZE = 64;

/** Follows the title of the page. */
export function startTabIcon() {
  const link = document.querySelector("link[rel=icon]");
  const icon = new Image();
  icon.src = link.href;
  const show = () => {
    const [, count] = /^\((\d+)\)/.exec(document.title) ?? [];
    link.href = count ? withCount(icon, count > 99 ? "99+" : count) : icon.src;
  };
  new MutationObserver(show).observe(document.querySelector("title"), { childList: true });
  icon.onload = show;
}

function withCount(icon, text) {
  const canvas = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });
  const context = canvas.getContext("2d");
  const width = 30 + 12 * text.length;
  context.drawImage(icon, 0, 0, SIZE, SIZE);
  context.fillStyle = "#d11a2d";
  context.roundRect(SIZE - width, 24, width, 40, 16);
  context.fill();
  context.fillStyle = "#fff";
  context.font = "bold 34px sans-serif";
  context.textAlign = "center";
  context.fillText(text, SIZE - width / 2, 56, width - 10);
  return canvas.toDataURL();
}
