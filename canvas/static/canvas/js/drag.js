// The pointer on the canvas: drag a top-level card by its header, drag the background to pan, wheel to pan and zoom.

const THRESHOLD = 4;
const LINE = 16;

/**
 * @param {object} options
 * @param {HTMLElement} options.view
 * @param {Camera} options.camera
 * @param {() => boolean} options.isCanvas @param {() => boolean} options.mayMove
 * @param {(id: string) => {x, y}} options.placeOf
 * @param {(id: string, at: {x, y}) => void} options.onDrag @param {(id: string, at: {x, y}|null) => void} options.onDrop
 *   `at` is null when the drag was cancelled
 */
export function followPointer(options) {
  const { view } = options;
  let gesture = null;

  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || gesture || !options.isCanvas() || event.target.closest("button, select, .minimap")) return;
    const id = options.mayMove() ? draggedRoot(event.target) : null;
    gesture = { id, pointer: event.pointerId, x: event.clientX, y: event.clientY, moved: false };
    if (id) gesture.from = options.placeOf(id);
  });

  view.addEventListener("pointermove", (event) => {
    if (event.pointerId !== gesture?.pointer) return;
    const dx = event.clientX - gesture.x;
    const dy = event.clientY - gesture.y;
    if (!gesture.moved && Math.hypot(dx, dy) < THRESHOLD) return;
    if (!gesture.moved) begin(event);
    if (gesture.id) {
      options.onDrag(gesture.id, moved(gesture.from, dx, dy, options.camera.at.zoom));
    } else {
      options.camera.pan(dx, dy);
      Object.assign(gesture, { x: event.clientX, y: event.clientY });
    }
  });

  view.addEventListener("pointerup", (event) => {
    if (event.pointerId !== gesture?.pointer) return;
    const { id, from, moved: hasMoved, x, y } = gesture;
    end();
    if (!hasMoved) return;
    swallowClick();
    if (id) options.onDrop(id, moved(from, event.clientX - x, event.clientY - y, options.camera.at.zoom));
  });

  view.addEventListener("pointercancel", cancel);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && gesture) cancel();
  });
  view.addEventListener("wheel", (event) => options.isCanvas() && wheel(event, options.camera), { passive: false });

  function begin(event) {
    gesture.moved = true;
    view.setPointerCapture(event.pointerId);
    view.classList.add(gesture.id ? "dragging" : "panning");
    cardOf(event.target, gesture.id)?.classList.add("lifted");
  }

  function cancel() {
    if (gesture?.id && gesture.moved) options.onDrop(gesture.id, null);
    end();
  }

  function end() {
    gesture = null;
    view.classList.remove("dragging", "panning");
    view.querySelector(".lifted")?.classList.remove("lifted");
  }

  function cardOf(target, id) {
    return id && target.closest(".card.root");
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

function draggedRoot(target) {
  const card = target.closest(".card-head")?.closest(".card");
  return card?.classList.contains("root") ? card.dataset.id : null;
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
