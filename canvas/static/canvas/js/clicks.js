// Clicks on the canvas and in the list: one opens the workspace, two look closer at it.

/** @param {{view: HTMLElement, scene: Scene, isCanvas: () => boolean, onOpen: (id: string) => void}} options */
export function followClicks({ view, scene, isCanvas, onOpen }) {
  view.addEventListener("click", (event) => {
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
