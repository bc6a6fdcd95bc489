"use strict";
const [drop, file, said, shown, overlay] = ["drop", "file", "said", "shown", "overlay"].map((id) => document.getElementById(id));
let asked = 0;

async function ask(picture) {
  const number = ++asked;
  said.textContent = "Looking …";
  let text, answer = null;
  try {
    const response = await fetch("explain", { method: "POST", body: picture });
    answer = await response.json();
    text = answer.error ?? `${answer.class}, ${Math.round(100 * answer.confidence)} % sure`;
  } catch {
    text = "The server does not answer. Is it still running?";
  }
  if (number !== asked) return;  // a later picture was dropped meanwhile
  said.textContent = text;
  shown.hidden = !answer?.overlay;
  if (answer?.overlay) {
    overlay.src = answer.overlay;
    overlay.alt = `The picture, brighter where it speaks for ${answer.class}`;
  }
}

file.addEventListener("change", () => file.files[0] && ask(file.files[0]));
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) ask(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => event.clipboardData.files[0] && ask(event.clipboardData.files[0]));
