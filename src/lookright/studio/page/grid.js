// A grid of very many images, of which only those in sight exist.

import { picture } from "./api.js";

const TILE = 148; // pixels at least
const CAPTION = 42;
const GAP = 10;
const BEYOND = 2; // rows above and below those in sight

export class Grid {
  constructor(element, { caption, overlays, open }) {
    this.element = element;
    this.inner = element.appendChild(document.createElement("div"));
    this.inner.setAttribute("role", "presentation");
    this.caption = caption;
    this.overlays = overlays;
    this.open = open;
    this.items = [];
    this.tiles = new Map();
    this.current = 0;
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  show(items, current = 0) {
    this.items = items;
    this.current = Math.max(0, Math.min(current, items.length - 1));
    this.clear();
    this.reveal();
    this.draw();
  }

  clear() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
  }

  recaption() {
    for (const [position, tile] of this.tiles) {
      tile.caption.replaceChildren();
      this.caption(this.items[position], tile.caption);
    }
  }

  refresh() {
    this.clear();
    this.draw();
  }

  get columns() {
    return Math.max(1, Math.floor((this.inner.clientWidth + GAP) / (TILE + GAP)));
  }

  // A tile is as wide as its column, and its picture as high as it is wide.
  get side() {
    return Math.max(TILE, Math.floor((this.inner.clientWidth + GAP) / this.columns) - GAP);
  }

  get height() {
    return this.side + CAPTION + GAP;
  }

  draw() {
    if (!this.element.clientWidth) return;
    const { columns, side, height } = this;
    this.inner.style.height = `${Math.ceil(this.items.length / columns) * height}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - BEYOND) * columns;
    const rows = Math.ceil(this.element.clientHeight / height) + 1 + 2 * BEYOND;
    const last = Math.min(this.items.length, first + rows * columns);
    for (const [position, tile] of this.tiles) {
      if (position < first || position >= last) {
        tile.remove();
        this.tiles.delete(position);
      }
    }
    for (let position = first; position < last; position++) {
      let tile = this.tiles.get(position);
      if (!tile) {
        tile = this.tile(position);
        this.tiles.set(position, tile);
        this.inner.append(tile);
      }
      tile.style.left = `${(position % columns) * (side + GAP)}px`;
      tile.style.top = `${Math.floor(position / columns) * height}px`;
      tile.style.width = `${side}px`;
      tile.frame.style.height = `${side - 4}px`;
      tile.classList.toggle("current", position === this.current);
      tile.setAttribute("aria-selected", position === this.current);
    }
    if (this.tiles.has(this.current)) this.element.setAttribute("aria-activedescendant", `tile-${this.current}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  tile(position) {
    const item = this.items[position];
    const tile = document.createElement("div");
    tile.className = "tile";
    tile.setAttribute("role", "option");
    tile.id = `tile-${position}`;
    tile.setAttribute("aria-posinset", position + 1);
    tile.setAttribute("aria-setsize", this.items.length);
    const frame = tile.appendChild(document.createElement("span"));
    frame.className = "picture";
    tile.frame = frame;
    for (const source of [picture("thumbnail", { image: item.image, side: 2 * TILE }), ...this.overlays(item, 2 * TILE)]) {
      const image = frame.appendChild(document.createElement("img"));
      image.alt = "";
      image.decoding = "async";
      image.src = source;
    }
    const caption = tile.appendChild(document.createElement("span"));
    caption.className = "caption";
    this.caption(item, caption);
    tile.caption = caption;
    tile.title = item.image;
    tile.addEventListener("click", () => {
      this.current = position;
      this.open(item);
    });
    return tile;
  }

  reveal() {
    const { height } = this;
    const top = Math.floor(this.current / this.columns) * height;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + height > scrollTop + clientHeight) this.element.scrollTop = top + height - clientHeight + GAP;
  }

  key(event) {
    const columns = this.columns;
    const page = columns * Math.max(1, Math.floor(this.element.clientHeight / this.height));
    const step = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page,
      Home: -this.items.length, End: this.items.length,
    }[event.key];
    if (step !== undefined) {
      this.current = Math.max(0, Math.min(this.items.length - 1, this.current + step));
      this.reveal();
      this.draw();
      event.preventDefault();
    } else if (event.key === "Enter" && this.items[this.current]) {
      this.open(this.items[this.current]);
      event.preventDefault();
    }
  }
}
