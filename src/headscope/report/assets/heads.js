// The chosen head, wherever heads are named or drawn: names in tables choose it, and its rows and cells are marked.

import { choose, isHead, knownViews } from "./state.js";
import { element } from "./elements.js";

const HEAD_NAMES = /\bL\d{1,4}H\d{1,4}\b/g;

/** Make the names of heads in the tables below root buttons; once for each table. */
export function linkHeads(root) {
  for (const table of root.querySelectorAll("table[data-name]:not([data-linked])")) {
    table.dataset.linked = "";
    for (const body of table.tBodies) for (const row of body.rows) for (const cell of row.cells) linkCell(cell);
  }
}

function linkCell(cell) {
  const text = cell.textContent;
  const names = text.match(HEAD_NAMES)?.filter((name) => isHead(name, knownViews()));
  if (!names || cell.childElementCount) return;
  const parts = [];
  let end = 0;
  for (const name of names) {
    const start = text.indexOf(name, end);
    parts.push(text.slice(end, start), headButton(name));
    end = start + name.length;
  }
  cell.replaceChildren(...parts, text.slice(end));
}

/** A button that chooses a head. Clicks are heard by enableHeads, so that thousands of buttons need no listener each. */
export function headButton(name) {
  const button = element("button", name, "head-name");
  button.type = "button";
  button.dataset.head = name;
  return button;
}

/** Let every button of headButton below root choose its head; that of the chosen one lets go of it. */
export function enableHeads(root) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-head]");
    if (button) choose({ head: button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.head });
  });
}

/** Mark the chosen head's buttons and, in tables with a row per head, its rows; of one variant if one is chosen. */
export function markHead(root, { head, variant }) {
  for (const row of root.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
  for (const button of root.querySelectorAll("button[data-head]")) {
    const isChosen = button.dataset.head === head;
    button.setAttribute("aria-pressed", String(isChosen));
    const cell = button.parentElement;
    if (isChosen && cell.textContent === head && isOfVariant(cell.parentElement, variant)) cell.parentElement.classList.add("chosen");
  }
}

function isOfVariant(row, variant) {
  const headings = [...row.closest("table").querySelectorAll("thead th")].map((heading) => heading.textContent);
  const place = headings.indexOf("variant");
  return !variant || place < 0 || row.cells[place].textContent === variant;
}
