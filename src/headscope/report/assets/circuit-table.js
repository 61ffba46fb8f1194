// The edges of the view as rows: for the keyboard, for print and as CSV.

import { element } from "./elements.js";
import { nodeName } from "./circuit-data.js";

const FIRST_ROWS = 100;

/**
 * Take over the table that the page came with. Returns show(circuit, shown, isPrinting), which fills it with a view's
 * edges: on paper, which has no button for the rest, with all of them.
 */
export function setUpEdgeTable(block) {
  const table = block.querySelector("table[data-name]");
  const all = block.querySelector("[data-all-rows]");
  let view = { circuit: null, shown: [] };

  function fill(count) {
    const rows = view.shown.slice(0, count).map((item) => edgeRow(view.circuit, item));
    table.tBodies[0].replaceChildren(...rows);
    delete table.dataset.linked;
    all.hidden = view.shown.length <= count;
    all.textContent = `Show all ${view.shown.length.toLocaleString("en")} rows`;
  }

  all.addEventListener("click", () => fill(Infinity));
  // Before the page's own listener saves the rows that are there.
  block.querySelector("[data-csv]").addEventListener("click", () => fill(Infinity), { capture: true });
  return (circuit, shown, isPrinting) => {
    view = { circuit, shown };
    fill(isPrinting ? Infinity : FIRST_ROWS);
  };
}

function edgeRow(circuit, { edge, change }) {
  const row = document.createElement("tr");
  const scores = [edge.score.base, edge.score.variant];
  const name = `${nodeName(circuit, edge.source)} → ${edge.reader.name}`;
  row.append(...[circuit.variant, name, edge.reader.port || "–"].map((text) => element("td", text)));
  for (const score of scores) {
    const cell = element("td", shortNumber(score));
    cell.dataset.exact = score.toPrecision(5);
    row.append(cell);
  }
  row.append(element("td", change));
  return row;
}

/** A number with three digits and a true minus. */
export function shortNumber(value) {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}
