// The keyboard: arrows between cards as in any tree, arrows with Alt or Shift to move a top-level card, page keys.

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const STEP = 8;
const LEAP = 40;
const TEXT = "input:not([type=range]), textarea, select";

export function followCardKeys(options) {
  options.board.stage.addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    if (!card || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && (event.altKey || event.shiftKey)) {
      event.preventDefault();
      const step = event.shiftKey ? LEAP : STEP;
      options.onNudge(card.dataset.id, arrow[0] * step, arrow[1] * step);
    } else if ([" ", "Enter"].includes(event.key)) {
      if (event.target !== card) return;
      event.preventDefault();
      options.onToggle(card.dataset.id);
    } else if (!event.altKey) {
      const next = destination(event.key, card, options);
      if (next === undefined) return;
      event.preventDefault();
      next?.focus({ preventScroll: options.isCanvas() });
    }
  });
}

/** The card to focus; null to stay, undefined when the key has no meaning here. */
function destination(key, card, { board, onToggle }) {
  const expanded = card.getAttribute("aria-expanded");
  const cards = board.visible();
  const position = cards.indexOf(card);
  switch (key) {
    case "ArrowDown":
      return cards[position + 1] ?? null;
    case "ArrowUp":
      return cards[position - 1] ?? null;
    case "Home":
      return cards[0];
    case "End":
      return cards.at(-1);
    case "ArrowRight":
      if (expanded === "false") onToggle(card.dataset.id);
      return expanded === "true" ? cards[position + 1] : null;
    case "ArrowLeft":
      if (expanded === "true") onToggle(card.dataset.id);
      return expanded === "true" ? null : card.parentElement.closest(".card");
    default:
      return undefined;
  }
}

export function followPageKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const isHandled = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey;
    if (isHandled || document.querySelector("dialog[open]") || event.target.closest(TEXT)) return;
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
}
