// Puts the page together: which images are shown, in which order, and what the keys do.

import { Annotate } from "./annotate.js";
import { get, picture, post } from "./api.js";
import { Grid } from "./grid.js";

const $ = (id) => document.getElementById(id);
const say = (text) => {
  $("message").hidden = !text;
  $("message").firstElementChild.textContent = text;
};
$("message").lastElementChild.addEventListener("click", () => say(""));

const MODES = [["image", "image"], ["mask", "mask"]];
const SORTS = [["order", "order of the table"], ["label", "label"], ["mask", "without mask first"]];
const state = { items: [], mode: "image", places: {} };

const versions = new Map(); // of masks that were drawn since the page was opened

function overlays(item, side) {
  if (state.mode === "mask" && item.has_mask) return [picture("mask", { image: item.image, side, v: versions.get(item.image) ?? "" })];
  return [];
}

function caption(item, element) {
  const name = document.createElement("b");
  name.textContent = item.label;
  element.append(name, item.domain ? ` ${item.domain}` : "", item.split ? ` · ${item.split}` : "");
  if (item.has_mask) element.append(Object.assign(document.createElement("span"), { className: "mark", textContent: " ✓ mask" }));
  element.append(document.createElement("br"), item.image);
}

// Every word has to be found; a word with a colon looks in that column only; a minus in front turns it round.
export function matcher(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (item) =>
    words.every((word) => {
      const negated = word.startsWith("-") && word.length > 1;
      const [, column, value] = (negated ? word.slice(1) : word).match(/^(?:(label|split|domain|mask|by|image):)?(.*)$/);
      const cells = {
        label: item.label, split: item.split, domain: item.domain, image: item.image,
        mask: item.has_mask ? "yes" : "no", by: item.annotators.join(" "),
      };
      const text = column ? cells[column] : `${cells.image} ${cells.label} ${cells.split} ${cells.domain}`;
      return (text ?? "").toLowerCase().includes(value) !== negated;
    });
}

const keys = {
  order: (item) => item.index,
  label: (item) => item.label,
  mask: (item) => item.has_mask,
};
const compare = (a, b) => (a === b ? 0 : a < b ? -1 : 1);

function arrange(current) {
  const key = keys[$("sort").value];
  const found = state.items.filter(matcher($("filter").value));
  const sorted = found.map((item) => [key(item), item]).sort(([a, one], [b, other]) => compare(a, b) || one.index - other.index).map(([, item]) => item);
  grid.show(sorted, Math.max(0, sorted.indexOf(current)));
  count();
}

function count() {
  const masks = state.items.filter((item) => item.has_mask).length;
  $("status").textContent = `${grid.items.length} of ${state.items.length} images · ${masks} with a mask`;
}

const annotator = () => $("annotator").value.trim();

const grid = new Grid($("grid"), { caption, overlays, open });
const annotate = new Annotate({
  element: $("stage"), tools: $("tools"), saved: $("saved"), annotator, message: say,
  changed: (item, found) => {
    item.has_mask = found.is_own || item.had_mask;
    item.annotators = [...new Set([...item.annotators.filter((name) => name !== annotator()), ...(found.is_own ? [annotator()] : [])])];
    versions.set(item.image, found.version);
    count();
  },
});

function view(name) {
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== name;
  for (const button of document.querySelectorAll("#views button")) button.setAttribute("aria-pressed", button.dataset.view === name);
  if (name === "images") {
    grid.refresh();
    grid.reveal();
    $("grid").focus();
  }
}

async function open(item) {
  say("");
  view("annotate");
  const title = $("title");
  title.replaceChildren(Object.assign(document.createElement("b"), { textContent: item.label }), ` ${item.image} `);
  title.append(Object.assign(document.createElement("span"), { className: "quiet", textContent: `${grid.items.indexOf(item) + 1} of ${grid.items.length}` }));
  try {
    await annotate.open(item);
    post("place", { image: item.image, annotator: annotator() }).catch(() => {});
    const next = grid.items[grid.items.indexOf(item) + 1];
    if (next) new Image().src = picture("picture", { image: next.image });
  } catch (error) {
    say(error.message);
  }
}

function step(by, wanted = () => true) {
  let at = grid.items.indexOf(annotate.item) + by;
  while (grid.items[at] && !wanted(grid.items[at])) at += by;
  if (!grid.items[at]) return say(by > 0 ? "This was the last image of the list." : "This was the first image of the list.");
  grid.current = at;
  open(grid.items[at]);
}

$("back").addEventListener("click", () => view("images"));
$("next").addEventListener("click", () => step(1));
$("previous").addEventListener("click", () => step(-1));
$("filter").addEventListener("input", () => arrange());
$("sort").addEventListener("change", () => arrange());
$("annotator").addEventListener("change", () => !$("annotate").hidden && annotate.item && open(annotate.item));
for (const button of document.querySelectorAll("#views button")) button.addEventListener("click", () => view(button.dataset.view));

function mode(name) {
  state.mode = name;
  for (const input of $("modes").querySelectorAll("input")) input.checked = input.value === name;
  grid.refresh();
}

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "range" && event.target.type !== "radio";
  if (typing) return event.key === "Escape" && (event.target.blur(), $("grid").focus());
  if (!$("annotate").hidden) {
    if (event.key === " ") annotate.space = true;
    const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const action = {
      Escape: () => view("images"), D: () => step(1), ArrowRight: () => step(1), A: () => step(-1), ArrowLeft: () => step(-1),
      W: () => step(1, (item) => !item.has_mask),
    }[key];
    if (event.target.type === "range" && key.startsWith("Arrow")) return;
    if (action && !event.ctrlKey && !event.metaKey) action();
    else if (!annotate.key(event) && event.key !== " ") return;
    event.preventDefault();
  } else if (event.key === "/") {
    $("filter").focus();
    event.preventDefault();
  } else if (event.key >= "1" && event.key <= String($("modes").querySelectorAll("input").length)) {
    mode($("modes").querySelectorAll("input")[Number(event.key) - 1].value);
  }
});
document.addEventListener("keyup", (event) => event.key === " " && (annotate.space = false));
window.addEventListener("beforeunload", (event) => annotate.unsaved && event.preventDefault());

async function start() {
  const found = await get("folder");
  const { image, label, split = [], domain = [], has_mask, annotators } = found.columns;
  state.items = image.map((name, index) => ({
    index, image: name, label: label[index], split: split[index] ?? "", domain: domain[index] ?? "",
    has_mask: has_mask[index], had_mask: has_mask[index] && !annotators[index].length, annotators: annotators[index],
  }));
  $("folder").textContent = found.name;
  document.title = `${found.name} · lookright studio`;
  $("annotator").value = found.annotator;
  for (const [name, text] of SORTS) $("sort").append(new Option(text, name));
  for (const [number, [name, text]] of MODES.entries()) {
    const label = $("modes").appendChild(document.createElement("label"));
    const input = label.appendChild(Object.assign(document.createElement("input"), { type: "radio", name: "mode", value: name, checked: !number }));
    label.append(` ${text} `, Object.assign(document.createElement("kbd"), { textContent: number + 1 }));
    input.addEventListener("change", () => mode(name));
  }
  arrange(state.items.find((item) => item.image === found.places[annotator()]));
  $("grid").focus();
}

start().catch((error) => say(error.message));
