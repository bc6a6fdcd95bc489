// One image, and the tools to draw on it. Every shape is sent as soon as it is finished; the server draws it into the mask.

import { Outdated, get, picture, post } from "./api.js";

const COLOURS = { evidence: "#1b9e77", nuisance: "#d95f02", ignore: "#969696", erase: "#ffffff" };
const TOOLS = [
  ["brush", "Brush", "B"], ["box", "Box", "R"], ["polygon", "Polygon", "P"], ["superpixels", "Regions", "S"],
  ["map", "Where it looks", "L"], ["segmenter", "Segmenter", "K"], ["move", "Move", "H"],
];
const FINE = 512; // pixels of a proposal's longer side
const PAINTS = [
  ["evidence", "Evidence", "V"], ["nuisance", "Nuisance", "N"], ["ignore", "Ignore", "I"], ["erase", "Eraser", "E"],
];
const NEAR = 12; // pixels of the screen in which a polygon closes

export class Annotate {
  constructor({ element, tools, saved, annotator, changed, message, runs }) {
    Object.assign(this, { element, saved, annotator, changed, message, runs });
    this.tool = "brush";
    this.paint = "evidence";
    this.width = 24;
    this.showsMask = true;
    this.queue = Promise.resolve();
    this.unsaved = 0;
    this.points = [];
    this.stage = new Konva.Stage({ container: element, width: 10, height: 10 });
    this.below = this.stage.getLayers()[0] ?? new Konva.Layer({ listening: false, imageSmoothingEnabled: true });
    this.above = new Konva.Layer({ listening: false, imageSmoothingEnabled: false });
    this.stage.add(this.below, this.above);
    this.image = this.addImage(this.below);
    this.maskImage = this.addImage(this.above);
    this.proposal = this.addImage(this.above);
    this.proposal.opacity(0.6);
    this.shape = null;
    this.buildTools(tools);
    this.listen();
  }

  addImage(layer) {
    const image = new Konva.Image({ image: undefined });
    layer.add(image);
    return image;
  }

  buildTools(tools) {
    this.buttons = new Map();
    const button = (name, label, key, action, swatch) => {
      const made = tools.appendChild(document.createElement("button"));
      made.type = "button";
      if (swatch) made.append(Object.assign(document.createElement("span"), { className: `swatch ${swatch}` }));
      made.append(label, Object.assign(document.createElement("kbd"), { textContent: key }));
      made.addEventListener("click", action);
      this.buttons.set(name, made);
      return made;
    };
    for (const [name, label, key] of TOOLS) button(name, label, key, () => this.choose({ tool: name }));
    tools.append(document.createElement("hr"));
    for (const [name, label, key] of PAINTS) button(name, label, key, () => this.choose({ paint: name }), name);
    const size = tools.appendChild(document.createElement("label"));
    size.textContent = "Brush width";
    this.slider = size.appendChild(Object.assign(document.createElement("input"), { type: "range", min: 1, max: 200, value: this.width }));
    this.slider.addEventListener("input", () => (this.width = Number(this.slider.value)));
    tools.append(document.createElement("hr"));
    button("nothing", "Nothing here is evidence", "0", () => this.send({ shape: "nothing" }));
    button("undo", "Undo", "Z", () => this.undo());
    button("mask", "Mask on and off", "M", () => this.choose({ showsMask: !this.showsMask }));
    button("fit", "Fit", "F", () => this.fit());
    this.thresholdLabel = tools.insertBefore(document.createElement("label"), size);
    this.thresholdLabel.textContent = "Threshold, then Enter";
    this.threshold = this.thresholdLabel.appendChild(Object.assign(document.createElement("input"), { type: "range", min: 0.02, max: 1, step: 0.01, value: 0.5 }));
    this.threshold.addEventListener("input", () => this.showThreshold());
    const accept = this.thresholdLabel.appendChild(Object.assign(document.createElement("button"), { type: "button", textContent: "Take it" }));
    accept.addEventListener("click", () => this.takeMap());
    this.choose({});
  }

  // Once it is known what there is to propose.
  buildProposals() {
    const { runs, has_segmenter } = this.runs();
    this.buttons.get("map").hidden = !runs.length;
    this.buttons.get("segmenter").hidden = !has_segmenter;
  }

  async showProposal() {
    this.proposal.image(null);
    this.grey = this.numbers = null;
    const { item, tool } = this;
    if (!item || !["map", "superpixels"].includes(tool)) return;
    const source = tool === "map"
      ? picture("map", { image: item.image, side: FINE, plain: 1, ...this.source() })
      : picture("regions", { image: item.image });
    const shown = await load(source).catch(() => null);
    if (item !== this.item || tool !== this.tool) return;
    if (!shown) return this.message(tool === "map" ? "The server cannot say where the run looks." : "There are no regions; they need scikit-image: pip install 'lookright[studio]'.");
    if (tool === "map") {
      this.grey = pixelsOf(shown);
      this.showThreshold();
    } else this.numbers = pixelsOf(shown);
  }

  source() {
    const { run, runs } = this.runs();
    return { run, source: runs[run].has_masker ? "masker" : "map" };
  }

  showThreshold() {
    const least = 255 * this.threshold.value;
    if (this.grey) this.paintProposal(this.grey, (data, at) => data[at] >= least);
  }

  paintProposal({ data, width, height }, marked) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    const shown = context.createImageData(width, height);
    const colour = COLOURS[this.paint].match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
    for (let at = 0; at < data.length; at += 4) if (marked(data, at)) shown.data.set([...colour, 255], at);
    context.putImageData(shown, 0, 0);
    this.proposal.setAttrs({ image: canvas, width: this.about.width, height: this.about.height });
  }

  takeMap() {
    if (this.tool !== "map" || !this.grey) return;
    this.send({ shape: "map", threshold: Number(this.threshold.value), paint: this.paint, ...this.source() });
    this.proposal.image(null);
  }

  region([x, y]) {
    if (!this.numbers) return null;
    const { data, width, height } = this.numbers;
    const [column, row] = [Math.floor((x * width) / this.about.width), Math.floor((y * height) / this.about.height)];
    if (column < 0 || row < 0 || column >= width || row >= height) return null;
    const at = 4 * (row * width + column);
    return data[at] + 256 * data[at + 1];
  }

  showRegions(hovered) {
    const chosen = new Set(this.regions ?? []);
    if (hovered !== null) chosen.add(hovered);
    if (this.numbers) this.paintProposal(this.numbers, (data, at) => chosen.has(data[at] + 256 * data[at + 1]));
  }

  choose(chosen) {
    if (chosen.tool && chosen.tool !== this.tool) this.drop();
    Object.assign(this, chosen);
    for (const [name] of TOOLS) this.buttons.get(name).setAttribute("aria-pressed", name === this.tool);
    for (const [name] of PAINTS) this.buttons.get(name).setAttribute("aria-pressed", name === this.paint);
    this.maskImage.visible(this.showsMask);
    if (chosen.tool) this.showProposal();
    else if (chosen.paint) this.showThreshold();
    this.thresholdLabel.hidden = this.tool !== "map";
    this.element.style.cursor = this.tool === "move" ? "grab" : "crosshair";
  }

  async open(item) {
    this.drop();
    this.item = item;
    this.ready = false;
    delete this.element.dataset.image;
    this.tell("");
    const asked = { image: item.image, annotator: this.annotator() };
    const [found, loaded] = await Promise.all([get("annotation", asked), load(picture("picture", { image: item.image }))]);
    if (this.item !== item) return;
    this.about = found;
    this.image.setAttrs({ image: loaded, width: found.width, height: found.height });
    await this.showMask(found);
    this.ready = true;
    this.element.dataset.image = item.image;
    this.fit();
    this.showProposal();
  }

  async showMask(found) {
    const item = this.item;
    const shown = await load(picture("mask", { image: item.image, annotator: this.annotator(), v: found.version }));
    if (this.item !== item) return;
    this.about = found;
    this.maskImage.setAttrs({ image: shown, width: found.width, height: found.height });
    this.buttons.get("undo").disabled = !found.can_undo;
    this.above.batchDraw();
  }

  // The image stays fit, unless it was zoomed or moved, or a shape is being drawn.
  resized() {
    if (this.fits && !this.shape) return this.fit();
    this.stage.size({ width: this.element.clientWidth, height: this.element.clientHeight });
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    this.stage.size({ width, height });
    this.fits = true;
    if (!this.about || !width) return;
    const scale = 0.96 * Math.min(width / this.about.width, height / this.about.height);
    this.stage.scale({ x: scale, y: scale });
    this.stage.position({ x: (width - scale * this.about.width) / 2, y: (height - scale * this.about.height) / 2 });
  }

  zoom(factor, at = { x: this.stage.width() / 2, y: this.stage.height() / 2 }) {
    this.fits = false;
    const before = this.stage.scaleX();
    const scale = Math.min(60, Math.max(0.02, before * factor));
    const { x, y } = this.stage.position();
    this.stage.scale({ x: scale, y: scale });
    this.stage.position({ x: at.x - ((at.x - x) / before) * scale, y: at.y - ((at.y - y) / before) * scale });
  }

  listen() {
    new ResizeObserver(() => this.resized()).observe(this.element);
    this.stage.on("wheel", ({ evt }) => {
      evt.preventDefault();
      this.zoom(Math.exp(-evt.deltaY / 400), this.stage.getPointerPosition());
    });
    this.fingers = new Map();
    const content = this.stage.content;
    content.addEventListener("contextmenu", (event) => event.preventDefault());
    content.addEventListener("pointerdown", (event) => this.down(event));
    content.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) content.addEventListener(name, (event) => this.up(event, name === "pointerup"));
    content.addEventListener("dblclick", () => this.tool === "polygon" && this.close());
  }

  place(event) {
    const frame = this.element.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  }

  inImage({ x, y }) {
    const scale = this.stage.scaleX();
    return [(x - this.stage.x()) / scale, (y - this.stage.y()) / scale].map((value) => Math.round(100 * value) / 100);
  }

  down(event) {
    if (!this.ready) return;
    this.stage.content.setPointerCapture(event.pointerId);
    const at = this.place(event);
    this.fingers.set(event.pointerId, at);
    if (this.fingers.size > 1) return this.drop(); // two fingers zoom and move
    if (this.tool === "move" || event.button === 1 || this.space) return (this.dragged = at);
    if (event.button !== 0) return;
    const point = this.inImage(at);
    if (this.tool === "polygon") return this.corner(point);
    if (this.tool === "map") return;
    if (this.tool === "segmenter") return this.send({ shape: "segmenter", paint: this.paint, point });
    if (this.tool === "superpixels") {
      const region = this.region(point);
      if (region !== null) this.regions = new Set([region]);
      return;
    }
    this.start(point);
  }

  start(point) {
    this.points = [point];
    const colour = COLOURS[this.paint];
    if (this.tool === "brush") {
      const width = this.width / this.stage.scaleX();
      this.shape = new Konva.Line({
        points: [...point, ...point], stroke: colour, strokeWidth: width, lineCap: "round", lineJoin: "round", opacity: 0.6,
      });
      this.shape.brush = width;
    } else {
      this.shape = new Konva.Rect({ x: point[0], y: point[1], stroke: colour, strokeWidth: 2, strokeScaleEnabled: false, dash: [6, 3] });
    }
    this.above.add(this.shape);
  }

  move(event) {
    const at = this.place(event);
    const before = this.fingers.get(event.pointerId);
    if (before && this.fingers.size === 2) return this.pinch(event.pointerId, at);
    if (before) this.fingers.set(event.pointerId, at);
    if (this.dragged && before) {
      this.fits = false;
      this.stage.position({ x: this.stage.x() + at.x - before.x, y: this.stage.y() + at.y - before.y });
      return;
    }
    const point = this.inImage(at);
    if (this.tool === "superpixels") {
      const region = this.region(point);
      if (region !== null && before) this.regions?.add(region);
      return this.showRegions(region);
    }
    if (this.tool === "polygon" && this.shape) return this.shape.points([...this.points.flat(), ...point]);
    if (!this.shape || !before) return;
    if (this.tool === "brush") {
      this.points.push(point);
      this.shape.points([...this.shape.points(), ...point]);
    } else {
      const [x, y] = this.points[0];
      this.points[1] = point;
      this.shape.setAttrs({ x: Math.min(x, point[0]), y: Math.min(y, point[1]), width: Math.abs(point[0] - x), height: Math.abs(point[1] - y) });
    }
  }

  pinch(id, at) {
    const [other] = [...this.fingers].filter(([key]) => key !== id).map(([, value]) => value);
    const before = this.fingers.get(id);
    const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) || 1;
    const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    const [from, to] = [middle(before, other), middle(at, other)];
    this.stage.position({ x: this.stage.x() + to.x - from.x, y: this.stage.y() + to.y - from.y });
    this.zoom(distance(at, other) / distance(before, other), to);
    this.fingers.set(id, at);
  }

  up(event, done) {
    this.fingers.delete(event.pointerId);
    this.dragged = null;
    if (this.tool === "superpixels" && this.regions) {
      const regions = [...this.regions];
      this.regions = null;
      this.showRegions(null);
      return done ? this.send({ shape: "superpixels", regions, paint: this.paint }) : undefined;
    }
    if (this.tool === "polygon" || !this.shape) return;
    const shape = this.shape;
    this.shape = null;
    if (!done || (this.tool === "box" && this.points.length < 2)) return shape.destroy();
    const operation = { shape: this.tool === "brush" ? "stroke" : "box", paint: this.paint, points: this.points };
    if (shape.brush) operation.width = Math.max(1, shape.brush);
    this.send(operation, shape);
  }

  corner(point) {
    const near = this.points.length > 2 && Math.hypot(point[0] - this.points[0][0], point[1] - this.points[0][1]) * this.stage.scaleX() < NEAR;
    if (near) return this.close();
    this.points = this.shape ? [...this.points, point] : [point];
    if (!this.shape) {
      this.shape = new Konva.Line({ stroke: COLOURS[this.paint], strokeWidth: 2, strokeScaleEnabled: false, closed: true, fill: `${COLOURS[this.paint]}40` });
      this.above.add(this.shape);
    }
    this.shape.points([...this.points.flat(), ...point]);
  }

  close() {
    // A double click has added its corner twice.
    const points = this.points.filter((point, index) => !index || String(point) !== String(this.points[index - 1]));
    const shape = this.shape;
    this.shape = null;
    this.points = [];
    if (points.length < 3) return shape?.destroy();
    this.send({ shape: "polygon", paint: this.paint, points }, shape);
  }

  drop() {
    this.shape?.destroy();
    this.shape = null;
    this.points = [];
    this.regions = null;
    this.dragged = null;
  }

  // One after another: each shape is drawn into the mask that the one before has made.
  send(operation, shape) {
    return this.enqueue("draw", { operation }, shape);
  }

  undo() {
    if (this.tool === "polygon" && this.points.length) {
      this.points.pop();
      this.shape.points(this.points.flat());
      return this.points.length ? undefined : this.drop();
    }
    return this.enqueue("undo", {});
  }

  enqueue(name, body, shape) {
    const item = this.item;
    if (!item || !this.ready) return this.queue;
    this.unsaved++;
    this.tell("Saving …");
    this.queue = this.queue.then(async () => {
      try {
        const about = item === this.item ? this.about : await get("annotation", { image: item.image, annotator: this.annotator() });
        const found = await post(name, { image: item.image, annotator: this.annotator(), version: about.version, ...body });
        this.changed(item, found);
        if (item === this.item) await this.showMask(found);
        if (this.unsaved === 1) this.tell(found.is_own ? `Saved: ${(100 * found.share).toFixed(1)} % is evidence` : "No mask");
      } catch (error) {
        this.tell("Not saved", true);
        this.message(error instanceof TypeError ? "The server does not answer, so the last stroke is not saved. Start 'lookright studio' again and open its new address." : error.message);
        if (error instanceof Outdated && item === this.item) await this.showMask(await get("annotation", { image: item.image, annotator: this.annotator() }));
      } finally {
        this.unsaved--;
        shape?.destroy();
      }
    });
    return this.queue;
  }

  tell(text, failed = false) {
    this.saved.textContent = text;
    this.saved.classList.toggle("failed", failed);
  }

  key(event) {
    const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const tool = TOOLS.find(([, , wanted]) => wanted === key);
    const paint = PAINTS.find(([, , wanted]) => wanted === key);
    const action = {
      Z: () => this.undo(), "0": () => this.send({ shape: "nothing" }), M: () => this.choose({ showsMask: !this.showsMask }), F: () => this.fit(),
      "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8),
      "[": () => this.brush(0.8), "]": () => this.brush(1.25), Backspace: () => this.undo(),
      Enter: () => (this.tool === "polygon" ? this.close() : this.takeMap()),
    }[key];
    if (event.ctrlKey || event.metaKey) {
      if (key !== "Z") return false;
    } else if (tool && !this.buttons.get(tool[0]).hidden) return this.choose({ tool: tool[0] }), true;
    else if (paint) return this.choose({ paint: paint[0], tool: this.tool === "move" ? "brush" : this.tool }), true;
    if (!action) return false;
    action();
    return true;
  }

  brush(factor) {
    this.width = Math.max(1, Math.min(200, Math.round(this.width * factor + Math.sign(factor - 1))));
    this.slider.value = this.width;
  }
}

function pixelsOf(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

export function load(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("A picture cannot be loaded; its file may be broken, or the server gone."));
    image.src = source;
  });
}
