// The list: one row for each workspace that is shown, all of one height, of which only those in view are in the page.

const OVERSCAN = 12;

export class Rows {
  #drawn = new Map();
  #tree = null;
  #top = 0;

  /** @param {HTMLElement} list inside `scroller` @param {Cards} cards */
  constructor(list, scroller, cards) {
    Object.assign(this, { list, scroller, cards });
    scroller.addEventListener("scroll", () => this.#tree && this.#draw(), { passive: true });
    new ResizeObserver(() => this.#tree && this.#draw()).observe(scroller);
  }

  element(id) {
    return this.#drawn.get(id)?.element;
  }

  /** @param {Tree|null} tree null for no rows @param {{selected, current}} marks ids */
  render(tree, marks) {
    Object.assign(this, { marks });
    this.#tree = tree;
    if (tree) return this.#draw();
    for (const id of this.#drawn.keys()) this.#drop(id);
  }

  /** Scrolls only as far as needed to show a row. */
  reveal(id) {
    const at = this.#tree.position(id);
    if (at < 0) return;
    const height = this.#rowHeight();
    const top = this.list.offsetTop + at * height;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop + height || top + 2 * height > scrollTop + clientHeight) this.scroller.scrollTop = top - clientHeight / 2;
    this.#draw();
  }

  tick() {
    for (const row of this.#drawn.values()) this.cards.tick(row);
  }

  #draw() {
    const { shown } = this.#tree;
    const height = this.#rowHeight();
    const first = Math.floor((this.scroller.scrollTop - this.list.offsetTop) / height) - OVERSCAN;
    const last = first + Math.ceil(this.scroller.clientHeight / height) + 2 * OVERSCAN;
    const wanted = new Set();
    for (let n = Math.max(0, first); n < Math.min(shown.length, last); n++) wanted.add(n);
    const focused = document.activeElement.closest?.(".card")?.dataset.id;
    for (const id of [this.marks.current, focused]) {
      const at = this.#tree.position(id);
      if (at >= 0) wanted.add(at);
    }
    const ids = new Set([...wanted].map((n) => shown[n].id));
    for (const id of this.#drawn.keys()) if (!ids.has(id)) this.#drop(id);
    this.list.style.height = `${shown.length * height}px`;
    let before = null;
    for (const n of [...wanted].sort((a, b) => a - b)) before = this.#show(shown[n], n, height, before);
  }

  #show(node, n, height, before) {
    const row = this.#drawn.get(node.id) ?? this.cards.create(node.id);
    this.#drawn.set(node.id, row);
    this.cards.fill(row, node);
    const { element, parts } = row;
    const { selected, current } = this.marks;
    element.style.transform = `translateY(${n * height}px)`;
    element.style.setProperty("--depth", Math.min(node.depth, 8));
    const siblings = (node.parent?.children ?? this.#tree.roots).filter(({ isDimmed }) => !isDimmed);
    element.setAttribute("aria-setsize", siblings.length);
    element.setAttribute("aria-posinset", siblings.indexOf(node) + 1);
    element.setAttribute("aria-selected", String(node.id === selected));
    element.tabIndex = parts.name.tabIndex = node.id === current ? 0 : -1;
    const next = before ? before.nextElementSibling : this.list.firstElementChild;
    // A row that is in its place is not moved, because that would take its focus.
    if (element !== next) this.list.insertBefore(element, next);
    return element;
  }

  #drop(id) {
    this.#drawn.get(id).element.remove();
    this.#drawn.delete(id);
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 44;
  }
}
