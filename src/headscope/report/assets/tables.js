// Tables as CSV, from the table itself: full precision where the page shows rounded numbers.

const NUMBER = /^-?[\d.]+(e[+-]?\d+)?$/i;

/** One CSV field. Text that a spreadsheet would run as a formula gets a leading apostrophe. */
export function csvField(text) {
  const safe = /^[=+\-@\t\r]/.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The CSV of a table element, heading first. */
export function tableCsv(table) {
  const rows = [...table.rows].map((row) => [...row.cells].map((cell) => csvField(cell.dataset.exact ?? cell.textContent.replaceAll("\u00a0", " "))).join(","));
  return rows.join("\r\n") + "\r\n";
}

/** Make the CSV buttons save their table. */
export function enableCsv(root) {
  for (const button of root.querySelectorAll("[data-csv]")) {
    const table = button.closest(".table").querySelector("table");
    button.addEventListener("click", () => saveText(`${table.dataset.name}.csv`, tableCsv(table)));
  }
}

/** Read each folded table below root when it is first opened, and then call onOpen(its details). */
export function unfoldTables(root, onOpen) {
  for (const details of root.querySelectorAll("details.folded")) {
    details.addEventListener("toggle", () => unfold(details, onOpen), { once: true });
  }
}

function unfold(details, onOpen) {
  const source = details.querySelector("script");
  const parsed = document.createElement("template");
  parsed.innerHTML = source.textContent; // the template's own markup, in which all text is escaped
  source.replaceWith(parsed.content);
  enableCsv(details);
  onOpen(details);
}

/** Let the browser save a CSV. */
export function saveText(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
