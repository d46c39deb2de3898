// Clicks on the canvas and in the list: one opens the workspace, two look closer at it, one of the other button (or a
// long touch) opens its menu, as its menu button does.

/**
 * @param {{view: HTMLElement, scene: Scene, isCanvas: () => boolean, onOpen: (id: string) => void,
 *   onMenu: (id: string, at: {left: number, top: number, bottom: number}) => void}} options
 */
export function followClicks({ view, scene, isCanvas, onOpen, onMenu }) {
  view.addEventListener("contextmenu", (event) => {
    const node = nodeOf(event);
    if (!node) return;
    event.preventDefault();
    onMenu(node.id, { left: event.clientX, top: event.clientY, bottom: event.clientY });
  });
  view.addEventListener("click", (event) => {
    const button = event.target.closest(".card-menu");
    if (button) onMenu(button.closest(".card").dataset.id, button.getBoundingClientRect());
    const node = nodeOf(event);
    if (!node || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!scene.element(node.id)?.contains(document.activeElement)) scene.focus(node);
    onOpen(node.id);
  });
  view.addEventListener("dblclick", (event) => {
    const node = isCanvas() && nodeOf(event);
    if (node) scene.zoomTo(node);
  });

  /** Cards that are too small to have an element answer as well. */
  function nodeOf({ target, clientX, clientY }) {
    if (target.closest("button, select, .minimap, .banner")) return undefined;
    if (isCanvas() && !target.closest("a")) return scene.nodeAt(clientX, clientY);
    return scene.tree.nodes.get(target.closest(".card")?.dataset.id);
  }
}
