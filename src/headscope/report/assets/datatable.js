// Tables made by script, in the shape of the template's, so that they scroll, link heads and save as CSV alike.

import { element } from "./elements.js";
import { enableCsv } from "./tables.js";

/** The block and the table element of rows; a cell is a text, or an element to use as the cell. */
export function dataTable(name, caption, columns, rows) {
  const table = document.createElement("table");
  table.dataset.name = name;
  table.createCaption().textContent = caption;
  const heading = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = element("th", column);
    cell.scope = "col";
    heading.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) body.insertRow().append(...row.map((cell) => (typeof cell === "string" ? textCell(cell) : cell)));
  if (!rows.length) body.insertRow().append(element("td", "none"));
  const block = element("div", "", "table");
  const scroll = element("div", "", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", caption || name);
  scroll.append(table);
  const tools = element("p", "", "tools");
  const button = element("button", "CSV");
  button.type = "button";
  button.dataset.csv = "";
  tools.append(button);
  block.append(scroll, tools);
  enableCsv(block);
  return [block, table];
}

function textCell(text) {
  return element("td", text, text.length <= 24 ? "" : text.length <= 80 ? "wide" : "long");
}
