// The pointer. On the canvas: drag a card (with a finger, or where it is open, by its head), drag the rest to pan, wheel
// to pan and zoom, two fingers to do both, a long touch for the menu. There and in the list: one click opens the
// workspace, two look closer at it, one of the other button opens its menu, as its menu button does.

const THRESHOLD = 4;
const LINE = 16;
const LONG_MS = 500;

/**
 * @param {object} options
 * @param {HTMLElement} options.view
 * @param {Camera} options.camera
 * @param {() => boolean} options.isCanvas @param {() => boolean} options.mayMove
 * @param {(id: string) => {x, y}} options.placeOf on the canvas
 * @param {(id: string, at: {x, y}, event: PointerEvent) => void} options.onDrag
 * @param {(id: string, at?: {x, y}, event?: PointerEvent) => void} options.onDrop without a place when the drag was cancelled
 */
export function followDrags(options) {
  const { view, camera } = options;
  const touches = new Map();
  let gesture = null;
  let wasLong = false;

  view.addEventListener("pointerdown", (event) => {
    if (!options.isCanvas() || event.target.closest("button, select, .minimap")) return;
    if (event.pointerType === "touch") touches.set(event.pointerId, event);
    if (touches.size === 2) return cancel();
    if (event.button !== 0 || gesture) return;
    const id = options.mayMove() ? held(event)?.closest(".card").dataset.id : null;
    gesture = { id, pointer: event.pointerId, x: event.clientX, y: event.clientY, moved: false };
    if (id) gesture.from = options.placeOf(id);
    if (event.pointerType === "touch") gesture.timer = setTimeout(() => longTouch(event), LONG_MS);
  });

  view.addEventListener("pointermove", (event) => {
    if (touches.has(event.pointerId)) {
      const before = spread();
      touches.set(event.pointerId, event);
      if (touches.size === 2) pinch(before, spread());
    }
    if (event.pointerId !== gesture?.pointer || gesture.isLong) return;
    const dx = event.clientX - gesture.x;
    const dy = event.clientY - gesture.y;
    if (!gesture.moved && Math.hypot(dx, dy) < THRESHOLD) return;
    if (!gesture.moved) begin(event);
    if (gesture.id) {
      options.onDrag(gesture.id, moved(gesture.from, dx, dy, camera.at.zoom), event);
    } else {
      camera.pan(dx, dy);
      Object.assign(gesture, { x: event.clientX, y: event.clientY });
    }
  });

  view.addEventListener("pointerup", (event) => {
    if (event.pointerId !== gesture?.pointer) return;
    const { id, from, moved: hasMoved, isLong, x, y } = gesture;
    end();
    wasLong = isLong;
    if (hasMoved) swallowClick();
    if (hasMoved && id) options.onDrop(id, moved(from, event.clientX - x, event.clientY - y, camera.at.zoom), event);
  });

  // Else a click follows, in the menu that lies there now.
  view.addEventListener("touchend", (event) => {
    if (wasLong) event.preventDefault();
    wasLong = false;
  });
  view.addEventListener("pointercancel", cancel);
  // The card that a finger is on may be gone by then, and with it the way to the view.
  for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, ({ pointerId }) => touches.delete(pointerId));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !gesture?.moved) return;
    event.stopImmediatePropagation();
    cancel();
  }, { capture: true });
  view.addEventListener("wheel", (event) => options.isCanvas() && wheel(event, camera), { passive: false });

  function begin(event) {
    clearTimeout(gesture.timer);
    gesture.moved = true;
    view.setPointerCapture(event.pointerId);
    view.classList.add(gesture.id ? "dragging" : "panning");
    if (gesture.id) view.querySelector(`.stage [data-id="${gesture.id}"]`)?.classList.add("lifted");
  }

  function cancel() {
    if (gesture?.id && gesture.moved) options.onDrop(gesture.id);
    end();
  }

  function end() {
    clearTimeout(gesture?.timer);
    gesture = null;
    view.classList.remove("dragging", "panning");
    view.querySelector(".lifted")?.classList.remove("lifted");
  }

  function longTouch({ target, clientX, clientY }) {
    gesture.isLong = true;
    target.dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true, clientX, clientY }));
  }

  /** The middle of two fingers, and how far they are apart. */
  function spread() {
    const [one, other = one] = [...touches.values()];
    const apart = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    return { x: (one.clientX + other.clientX) / 2, y: (one.clientY + other.clientY) / 2, apart };
  }

  function pinch(before, { x, y, apart }) {
    camera.pan(x - before.x, y - before.y);
    camera.zoom(apart / (before.apart || apart), x - camera.corner.left, y - camera.corner.top);
  }

  /** A drag that starts on a link must not follow it. */
  function swallowClick() {
    const stop = (event) => {
      event.preventDefault();
      event.stopPropagation();
    };
    view.addEventListener("click", stop, { capture: true, once: true });
    setTimeout(() => view.removeEventListener("click", stop, { capture: true }));
  }
}

/** What a drag would take. An open team has its members and room to pan, and a finger needs that on every card. */
function held({ target, pointerType }) {
  return target.closest(pointerType === "touch" ? ".card-head" : ".card-head, .card[data-fit='card']");
}

function moved({ x, y }, dx, dy, zoom) {
  return { x: Math.round(x + dx / zoom), y: Math.round(y + dy / zoom) };
}

function wheel(event, camera) {
  event.preventDefault();
  const scale = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
  if (event.ctrlKey || event.metaKey) {
    const delta = Math.max(-50, Math.min(50, event.deltaY * scale));
    camera.zoom(Math.exp(-delta / 100), event.clientX - camera.corner.left, event.clientY - camera.corner.top);
  } else {
    camera.pan(-event.deltaX * scale, -event.deltaY * scale);
  }
}

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
