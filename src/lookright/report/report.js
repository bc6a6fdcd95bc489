"use strict";

const cards = document.getElementById("cards");

if (cards) {
  const [filter, sort, count, opacity, outline, status] = ["filter", "sort", "count", "opacity", "outline", "status"].map(
    (id) => document.getElementById(id),
  );
  const all = [...cards.children];

  // What is undefined comes last.
  const number = (text) => (text === "nan" || text === undefined ? Infinity : Number(text));
  const alignments = (card) => [...card.querySelectorAll("[data-method]")].map((picture) => number(picture.dataset.alignment));
  const alignment = (card, method) => number(card.querySelector(`[data-method="${method}"]`)?.dataset.alignment);
  const largest = (card) => (card.dataset.gap === "nan" ? Infinity : -Number(card.dataset.gap));
  const compare = (a, b) => (a === b ? 0 : a < b ? -1 : 1);

  function key(card) {
    const [by, method] = sort.value.split(":");
    if (by === "label") return card.dataset.label;
    if (by === "gap") return largest(card);
    if (by === "worst") return method === undefined ? Math.min(...alignments(card)) : alignment(card, method);
    return 0;
  }

  function arrange() {
    const keys = new Map(all.map((card) => [card, key(card)]));
    // The sort is stable: equal keys keep the order of the data.
    const sorted = [...all].sort((a, b) => compare(keys.get(a), keys.get(b)));
    const matching = sorted.filter((card) => !filter.value || card.dataset.split === filter.value);
    const shown = new Set(matching.slice(0, count.value ? Number(count.value) : matching.length));
    for (const card of all) card.hidden = !shown.has(card);
    // Moved pictures are decoded anew: nothing moves that is where it should be.
    if (sorted.some((card, index) => card !== cards.children[index])) cards.append(...sorted);
    cards.classList.add("arranged");
    status.textContent = `${shown.size} of ${matching.length} images shown`;
  }

  for (const control of [filter, sort, count]) control.addEventListener("change", arrange);
  opacity.addEventListener("input", () => cards.style.setProperty("--overlay-opacity", opacity.value / 100));
  outline.addEventListener("change", () => cards.classList.toggle("no-outline", !outline.checked));
  cards.style.setProperty("--overlay-opacity", opacity.value / 100);
  arrange();
}

// Test splits become tabs; without a script, and on paper, they follow one another.
for (const group of document.querySelectorAll(".splits")) {
  const panels = [...group.querySelectorAll(":scope > .split")];
  if (panels.length < 2) continue;
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Test split");
  const tabs = panels.map((panel) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${panel.id}`;
    tab.textContent = panel.dataset.title;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    list.append(tab);
    return tab;
  });
  const select = (chosen) =>
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", index === chosen);
      tab.tabIndex = index === chosen ? 0 : -1;
      panels[index].classList.toggle("unselected", index !== chosen);
    });
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => select(index));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (index + step + tabs.length) % tabs.length;
      select(next);
      tabs[next].focus();
    });
  });
  group.prepend(list);
  group.classList.add("tabbed");
  select(Math.max(0, panels.findIndex((panel) => "first" in panel.dataset)));
}
