// The keyboard: arrows between cards as in any tree, arrows with Alt or Shift to place a card, page keys.

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const STEP = 8;
const LEAP = 40;
export const TEXT = "input:not([type=range]), textarea, select";

/** @param {{container: HTMLElement, tree: Tree, onFocus, onToggle, onOpen, onNudge, onMenu}} options */
export function followCardKeys({ container, tree, onFocus, onToggle, onOpen, onNudge, onMenu }) {
  container.addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    const node = card && tree.nodes.get(card.dataset.id);
    if (!node || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && (event.altKey || event.shiftKey)) {
      event.preventDefault();
      const step = event.shiftKey ? LEAP : STEP;
      onNudge(node.id, arrow[0] * step, arrow[1] * step);
    } else if ([" ", "Enter"].includes(event.key)) {
      if (event.target !== card) return;
      event.preventDefault();
      if (event.key === "Enter") onOpen(node.id);
      else onToggle(node.id);
    } else if (event.key === "m" && !event.altKey) {
      event.preventDefault();
      onMenu(node.id);
    } else if (!event.altKey) {
      const next = destination(event.key, node, { tree, onToggle });
      if (next === undefined) return;
      event.preventDefault();
      if (next) onFocus(next);
    }
  });
}

/** The node to focus; null to stay, undefined when the key has no meaning here. */
function destination(key, node, { tree, onToggle }) {
  const { shown } = tree;
  const position = tree.position(node.id);
  const isTeam = node.children.length > 0;
  switch (key) {
    case "ArrowDown":
      return shown[position + 1] ?? null;
    case "ArrowUp":
      return shown[position - 1] ?? null;
    case "Home":
      return shown[0];
    case "End":
      return shown.at(-1);
    case "ArrowRight":
      // Its first member, unless that is left out of the list.
      if (isTeam && !node.isFolded) return shown[position + 1]?.parent === node ? shown[position + 1] : null;
      if (isTeam) onToggle(node.id);
      return null;
    case "ArrowLeft":
      if (!isTeam || node.isFolded) return node.parent;
      onToggle(node.id);
      return null;
    default:
      return undefined;
  }
}

/** Ctrl-K does what / does, also while somebody types. */
export function followPageKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const isControl = event.ctrlKey || event.metaKey;
    const isFind = isControl && !event.altKey && event.key.toLowerCase() === "k";
    const isHandled = event.defaultPrevented || isControl || event.altKey;
    if (!isFind && (isHandled || document.querySelector("dialog[open]") || event.target.closest(TEXT))) return;
    const key = isFind ? "/" : event.key;
    if (!Object.hasOwn(actions, key)) return;
    event.preventDefault();
    actions[key]();
  });
}
