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

const MODES = [["image", "image"], ["mask", "mask"], ["map", "map"], ["both", "both"], ["difference", "difference"]];
const SORTS = [
  ["order", "order of the table"], ["label", "label"], ["mask", "without mask first"], ["teach", "typical and varied first"],
  ["alignment", "worst alignment"], ["confidence", "least confident"], ["judged", "runs judge differently"], ["looked", "runs look elsewhere"],
];
const WITHOUT_RUN = { modes: 2, sorts: 3 };
const WAIT = 3000; // milliseconds until the server is asked again
const state = { items: [], mode: "image", run: 0, runs: [], scores: null };

const versions = new Map(); // of masks that were drawn since the page was opened

function overlays(item, side) {
  const asked = { image: item.image, side };
  const v = versions.get(item.image) ?? "";
  const mask = item.has_mask ? [picture("mask", { ...asked, v })] : [];
  const map = state.runs.length ? [picture("map", { ...asked, run: state.run })] : [];
  return {
    image: [], mask, map, both: [...map, ...mask],
    difference: map.length && mask.length ? [picture("difference", { ...asked, run: state.run, v })] : [],
  }[state.mode];
}

const percent = (value) => `${Math.round(100 * value)} %`;
const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(100 * value).toFixed(1)}`;
const points = (value) => `${signed(value)} points`;

const element = (name, attributes, ...inside) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inside);
  return made;
};

function caption(item, place) {
  if (item.has_mask) place.append(element("span", { className: "mark", title: "has a mask" }, "● "));
  place.append(element("b", {}, item.label), item.split ? ` · ${item.split}` : "", item.domain ? ` · ${item.domain}` : "", element("br", {}));
  const said = state.scores?.runs[state.run];
  if (said?.predicted[item.index] == null) return place.append(item.image);
  const right = said.predicted[item.index] === item.label;
  place.append(element("span", { className: right ? "mark" : "wrong" }, right ? "✓ " : `✗ ${said.predicted[item.index]} `));
  place.append(percent(said.confidence[item.index]));
  if (said.alignment[item.index] != null) place.append(` · ${percent(said.alignment[item.index])} in mask`);
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

// What is not known comes last.
const known = (value, sign = 1) => (value == null ? Infinity : sign * value);
const keys = {
  order: (item) => item.index,
  label: (item) => item.label,
  mask: (item) => item.has_mask,
  teach: (item) => known(state.teach?.get(item.image)),
  alignment: (item) => known(state.scores?.runs[state.run]?.alignment[item.index]),
  confidence: (item) => known(state.scores?.runs[state.run]?.confidence[item.index]),
  judged: (item) => known(state.scores?.judged[item.index], -1),
  looked: (item) => known(state.scores?.looked[item.index], -1),
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
  const said = state.scores?.runs[state.run];
  const scoring = said && said.done + said.unreadable < state.items.length ? ` · ${said.done} scored` : "";
  $("status").textContent = `${grid.items.length} of ${state.items.length} images · ${masks} with a mask${scoring}`;
}

async function teach() {
  const asks = $("sort").value === "teach";
  $("note").hidden = !asks;
  if (!asks) return;
  const found = await get("teach", { run: state.run });
  state.teach = new Map(found.images.map((image, place) => [image, place]));
  $("note").textContent = found.images.length
    ? `First come ${found.images.length} images without a mask that stand for many others of their label. Where it was measured, they taught about as much as images at random; "Train" says how many may be enough.`
    : "No image without a mask is scored yet.";
}

const isScored = () => state.scores?.runs.length === state.runs.length && state.scores.runs.every((run) => run.done + run.unreadable >= state.items.length);

async function score() {
  if (!state.runs.length) return;
  state.scores = await get("scores");
  if (state.scores.runs.length !== state.runs.length) showRuns(state.scores.runs);
  grid.recaption();
  count();
  if (!isScored()) setTimeout(() => score().catch(() => {}), Math.max(WAIT, state.items.length / 2));
}

function showRuns(runs) {
  state.runs = runs;
  $("run").replaceChildren(...runs.map(({ name }, number) => new Option(name.split("/").slice(-2).join("/"), number)));
  $("run").value = state.run;
  $("run-label").hidden = runs.length < 2;
  const before = $("modes").querySelectorAll("input").length;
  for (const [number, [name, text]] of MODES.slice(before, runs.length ? MODES.length : WITHOUT_RUN.modes).entries()) {
    const input = element("input", { type: "radio", name: "mode", value: name, checked: name === state.mode });
    input.addEventListener("change", () => mode(name));
    $("modes").append(element("label", {}, input, ` ${text} `, element("kbd", {}, String(before + number + 1))));
  }
  for (const [name, text] of SORTS.slice($("sort").length, runs.length ? SORTS.length : WITHOUT_RUN.sorts)) $("sort").append(new Option(text, name));
  for (const option of $("sort").options) option.disabled = ["judged", "looked"].includes(option.value) && runs.length < 2;
  annotate.buildProposals();
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
  runs: () => state,
});

function view(name) {
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== name;
  for (const button of document.querySelectorAll("#views button")) button.setAttribute("aria-pressed", button.dataset.view === name);
  if (name === "images") {
    grid.refresh();
    grid.reveal();
    $("grid").focus();
  }
  if (name === "findings") findings();
  if (name === "train") training();
}

function card(image, text) {
  const item = state.items.find((one) => one.image === image);
  const made = element("button", { type: "button" }, element("img", { alt: "", src: picture("thumbnail", { image, side: 128 }), loading: "lazy" }), element("span", {}, text));
  made.addEventListener("click", () => item && open(item));
  return element("li", {}, made);
}

async function findings() {
  try {
    const { state: now, text, faults, agreement } = await get("findings");
    $("check").disabled = now === "running";
    $("check").textContent = { running: "Checking …", done: "Check again", failed: "Check again" }[now] ?? "Check now";
    $("checked").hidden = !text;
    $("checked").textContent = text;
    $("faults").replaceChildren(...faults.map(({ image, fault, detail }) => card(image, `${fault}: ${image} (${detail})`)));
    $("agreement").replaceChildren();
    if (agreement.length) {
      const mean = agreement.reduce((sum, one) => sum + one.iou, 0) / agreement.length;
      $("agreement").append(
        element("h2", {}, "Where annotators agree"),
        element("p", {}, `${agreement.length} images were drawn by several: mean IoU ${mean.toFixed(2)}, least agreement first.`),
        element("ul", { className: "cards" }, ...agreement.slice(0, 100).map(({ image, annotators, iou }) => card(image, `IoU ${iou.toFixed(2)}: ${annotators.join(", ")}`))),
      );
    }
    if (now === "running" && !$("findings").hidden) setTimeout(findings, WAIT);
  } catch (error) {
    say(error.message);
  }
}
$("check").addEventListener("click", () => post("findings", {}).then(findings, (error) => say(error.message)));

// Two runs at one image, each with its map.
function beside({ image, predicted, alignment }, last) {
  const item = state.items.find((one) => one.image === image);
  const looks = (run, place) =>
    element("figure", {},
      element("span", { className: "picture" },
        ...["thumbnail", "map"].map((name) => element("img", { alt: "", src: picture(name, { image, side: 256, ...(name === "map" && { run }) }), loading: "lazy" }))),
      element("figcaption", {},
        element("span", { className: predicted[place] === item.label ? "mark" : "wrong" }, predicted[place] === item.label ? "✓ " : "✗ ", predicted[place]),
        alignment ? `, ${percent(alignment[place])} in the mask` : ""));
  const made = element("button", { type: "button", title: image }, element("b", {}, item.label), looks(0, 0), element("span", { ariaHidden: "true" }, "→"), looks(last, 1));
  made.addEventListener("click", () => open(item));
  return element("li", {}, made);
}

function changed({ state: now, runs, change }) {
  if (!change?.images) return [];
  const compared = runs.length > 1;
  const short = ({ name }) => name.split("/").at(-1);
  const row = (name, { means, interval }) =>
    element("tr", {}, element("th", { scope: "row" }, name),
      ...means.map((value) => element("td", {}, percent(value))),
      ...(compared ? [element("td", {}, points(means[1] - means[0]), interval ? ` (${interval.map(signed).join(" to ")})` : "")] : []));
  const names = compared ? [short(runs[0]), short(runs.at(-1)), "change (95 % interval)"] : [short(runs[0])];
  const head = [element("td", {}), ...names.map((name) => element("th", { scope: "col" }, name))];
  const rows = [];
  if (change.accuracy) rows.push(row(`right, of ${change.images} images`, change.accuracy));
  if (change.alignment) rows.push(row(`attention in the mask, of ${change.with_mask} images`, change.alignment));
  const alone = now === "done" ? "There is no other run to compare with: draw more masks and train again." : "A training sets its run beside this one.";
  const chance = compared ? "The interval tells of chance in which images are held out, not in the training: a study compares several seeds." : alone;
  const bare = change.alignment ? "" : " No held-out image has a mask: draw some to see how much of the attention lies in them.";
  const made = [
    element("h2", {}, "On images held out from training"),
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    element("p", { className: "quiet" }, chance + bare),
  ];
  if (change.moved.length) {
    const cards = change.moved.map((one) => beside(one, runs.length - 1));
    made.push(element("h2", {}, "Where the two look most differently"), element("ul", { className: "cards pairs" }, ...cards));
  }
  return made;
}

async function training() {
  try {
    const settled = !state.runs.length || isScored();
    const now = await get("train");
    const running = now.state === "running";
    $("start").disabled = running;
    $("training").textContent = { running: `${percent(now.progress)} done`, done: "Done.", failed: "It failed:" }[now.state] ?? "";
    $("progress").hidden = !running;
    $("progress").value = now.progress;
    $("trained").hidden = !now.text;
    $("trained").textContent = now.text;
    const more = now.runs.length !== state.runs.length;
    if (more) {
      showRuns(now.runs);
      score().catch(() => {});
    }
    const told = JSON.stringify([now.change, now.state]);
    if (told !== state.told) $("change").replaceChildren(...changed(now));
    state.told = told;
    if ((running || more || !settled) && !$("train").hidden) setTimeout(training, WAIT);
  } catch (error) {
    say(error.message);
  }
}

async function train() {
  view("train");
  await post("train", {}).catch((error) => say(error.message));
  training();
}
$("start").addEventListener("click", train);

async function open(item) {
  say("");
  view("annotate");
  const title = $("title");
  const place = `${grid.items.indexOf(item) + 1} of ${grid.items.length}`;
  title.replaceChildren(element("b", {}, item.label), ` ${item.image} `, element("span", { className: "quiet" }, place));
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
$("sort").addEventListener("change", async () => {
  await teach().catch((error) => say(error.message));
  arrange();
});
$("run").addEventListener("change", () => {
  state.run = Number($("run").value);
  arrange();
});
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
  if (event.target.tagName === "BUTTON" && [" ", "Enter"].includes(event.key)) return;
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
  } else if (event.key.toUpperCase() === "T" && !event.ctrlKey && !event.metaKey && !event.altKey) {
    train();
  } else if (event.key === "Escape") {
    view("images");
  } else if ($("images").hidden) {
    return;
  } else if (event.key === "/") {
    $("filter").focus();
    event.preventDefault();
  } else if (event.key >= "1" && event.key <= String($("modes").querySelectorAll("input").length)) {
    mode($("modes").querySelectorAll("input")[Number(event.key) - 1].value);
  }
});
// A tool that was clicked does not take the keys: Enter closes a polygon. The tabulator reaches it all the same.
$("annotate").addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
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
  $("enough").textContent = found.enough;
  state.has_segmenter = found.has_segmenter;
  say(found.notice);
  showRuns(found.runs);
  arrange(state.items.find((item) => item.image === found.places[annotator()]));
  $("grid").focus();
  score().catch((error) => say(error.message));
}

start().catch((error) => say(error.message));
