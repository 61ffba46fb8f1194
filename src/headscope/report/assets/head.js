// The page of one head: everything the file holds on the head that is chosen, as tables and pictures made when it is.

import { onChange, parseHead, viewState } from "./state.js";
import { element } from "./elements.js";
import { linkHeads, markHead } from "./heads.js";
import { dataTable } from "./datatable.js";
import { setUpHeadGrid } from "./headgrid.js";
import { setUpAttention } from "./attention.js";

/** Set up a block of head details; it follows the view state. */
export function setUpHead(block) {
  const data = JSON.parse(block.querySelector(".head-data").textContent);
  const part = (name) => block.querySelector(`[data-${name}]`);
  const showGrid = setUpHeadGrid(part("grid"), part("states"), data);
  const showAttention = setUpAttention(part("attention"), data);
  part("picker").open = !viewState()?.head;

  function show(state) {
    const variant = data.variants.find((each) => each.name === state.variant) ?? data.variants[0];
    showGrid(variant, state.head);
    part("none").hidden = Boolean(state.head);
    part("details").hidden = !state.head;
    if (!state.head) return;
    const { layer, head } = parseHead(state.head);
    const view = { data, variant, name: state.head, place: layer * data.heads + head };
    part("title").replaceChildren(`${state.head} in `, element("bdi", variant.name));
    part("lead").replaceChildren(...stateSentence(view, state.variant));
    part("ribbons").replaceChildren(...stateRibbons(view));
    part("numbers").replaceChildren(...numberTable(view));
    part("edges").replaceChildren(...edgeTables(view));
    part("without").replaceChildren(...removalTables(view));
    part("failures").replaceChildren(...failureTables(view));
    part("labels").replaceChildren(...roleTable(view));
    linkHeads(block);
    markHead(block, state);
    showAttention(variant.name, state.head);
  }

  onChange((state, before) => {
    if (state.page !== "head") return;
    if (!before) part("picker").open = !state.head;
    show(state);
  });
  window.addEventListener("beforeprint", () => show(viewState()));
}

const readingLine = (text) => element("p", text, "reading");

function headState({ data, place }, variant, step) {
  return data.statuses[Number(variant.states[place * variant.steps.length + step])];
}

function stateSentence(view, chosen) {
  const states = view.data.variants.map((variant) => [variant, headState(view, variant, variant.steps.length - 1)]);
  const parts = ["At the last checkpoint: "];
  states.forEach(([variant, state], index) => parts.push(index ? ", " : "", element("bdi", variant.name), ` ${state.name}`));
  parts.push(`. `);
  if (!chosen && view.data.variants.length > 1) parts.push("Everything below the states is of ", element("bdi", view.variant.name), ", the first variant; the bar on top chooses another.");
  return parts;
}

/** A row of cells per variant, one per checkpoint, and the same as a table. */
function stateRibbons(view) {
  const made = view.data.variants.map((variant) => {
    const cells = variant.steps.map((_, index) => {
      const state = headState(view, variant, index);
      const cell = element("td", state.glyph, `state state-${view.data.statuses.indexOf(state)}`);
      cell.title = `step ${variant.steps[index]}: ${state.name}`;
      cell.dataset.exact = state.name;
      return cell;
    });
    const [block, table] = dataTable(`head-states-${variant.name}`, "", ["step", ...variant.steps.map(String)], [["state", ...cells]]);
    table.classList.add("ribbon");
    table.caption.replaceChildren(element("bdi", variant.name));
    return block;
  });
  const legend = element("ul", "", "legend");
  view.data.statuses.forEach((state, index) => {
    const item = element("li", "");
    item.append(element("span", state.glyph, `state state-${index}`), ` ${state.name}`);
    legend.append(item);
  });
  return [...made, legend];
}

/** A number with three digits, as tables of the page write it; a dash for null. */
function threeDigits(value, sign = false) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size >= 1000 || size === 0 ? String(Math.round(size)) : size < 0.0001 ? size.toExponential(1) : String(Number(size.toPrecision(3)));
  return `${value < 0 ? "−" : sign && value > 0 ? "+" : ""}${text.replace("-", "−")}`;
}

const NO_NUMBERS = "Numbers of this head are not in this file: it holds those of the heads of most importance, as many as fit; all are in the run directory (RunDirectory(…).results in Python).";

function numberTable(view) {
  const { data, variant } = view;
  const row = data.places.indexOf(view.place);
  if (row < 0) return [readingLine(NO_NUMBERS)];
  const rows = variant.quantities.map((quantity) => {
    const ends = (side, sign) => intervalText(["value", "low", "high"].map((end) => quantity.columns[`${side}.${end}`]?.[row]), sign);
    const isNamed = quantity.columns.named?.includes(row);
    const q = quantity.columns.q ? `${threeDigits(quantity.columns.q[row])}${isNamed ? " ●" : ""}` : "–";
    return [`${quantity.name} (${quantity.unit})`, ends("base"), ends("post", quantity.columns["base.value"] === undefined), ends("change", true), q, quantity.basis];
  });
  for (const role of playedRoles(view)) {
    const q = `${threeDigits(role.q)}${role.clear ? " ●" : ""}`;
    rows.push([`reads by ${role.role}, ${role.task} (share)`, intervalText(role.base), intervalText(role.post), intervalText(role.change_in_share, true), q, `${role.texts} texts`]);
  }
  const left = data.places.length < data.layers * data.heads ? ` The file holds these numbers of ${data.places.length} of ${data.layers * data.heads} heads, those of most importance.` : "";
  const caption =
    "In the circuit: the share of resamples of the problems in whose circuit the head is. Importance: its share of all net score. Exact effect: nats that " +
    "replacing the head's output by that on the corrupt text costs, on pairs of other problems. Relative change: the paper's E, of flow, −1 to 1. Loss " +
    "without it: nats per token of the model's own correct answers when it alone writes nothing; slope: of that loss over a factor on what it writes. Reads by a role: the " +
    "share of its attention (retrieval: of tokens) that goes to what the role reads in the variant's own answers, if it plays the role in either model. " +
    `95 % intervals over problems, or texts of different problems. q: of the change, or else of the variant's number, over all heads (Benjamini-Hochberg); ● q ≤ 0.05 and large enough to be called one.${left}`;
  const columns = ["what", "base", "variant", "change", "q", "n"];
  const missing = [["exact effect", "Exact effects"], ["loss without it", "What removing it alone does to the loss"]].filter(([name]) => !variant.quantities.some((quantity) => quantity.name.startsWith(name)));
  return [dataTable("head-numbers", caption, columns, rows)[0], ...missing.map(([, name]) => readingLine(`${name} were not measured in this run.`))];
}

function intervalText([value, low, high], sign) {
  const text = threeDigits(value, sign);
  return low === undefined || low === null ? text : `${text} [${threeDigits(low, sign)}, ${threeDigits(high, sign)}]`.replaceAll(" ", "\u00a0");
}

const PORT_WORDS = { q: "read by its queries (q)", k: "read by its keys (k)", v: "read by its values (v)", out: "read it" };

/** A node of the graph in words: "a3.h5<q>" is "L3H5 q". */
function nodeWords(name) {
  const match = /^a(\d+)\.(h|kv)(\d+)(?:<([qkv])>)?$/.exec(name);
  if (match) return `${match[2] === "h" ? `L${match[1]}H${match[3]}` : `layer ${match[1]} group ${match[3]}`}${match[4] ? ` ${match[4]}` : ""}`;
  return name.replace(/^m(\d+)$/, "MLP $1");
}

function edgeTables({ data, variant, place }) {
  if (!variant.edges) return [readingLine("The edges of this variant were not scored in this run.")];
  const row = data.places.indexOf(place);
  if (row < 0) return [readingLine(NO_NUMBERS)];
  const panels = element("div", "", "ports");
  data.directions.forEach((direction, index) => {
    const flat = variant.edges[row][index];
    const nodes = direction === "out" ? data.destinations : data.sources;
    const rows = [];
    for (let at = 0; at < flat.length; at += 3) rows.push([nodeWords(nodes[flat[at]]), threeDigits(flat[at + 1], true), threeDigits(flat[at + 2], true)]);
    panels.append(dataTable(`head-edges-${direction}`, PORT_WORDS[direction], ["node", "base", "variant"], rows)[0]);
  });
  const about = `Up to ${data.edges} edges each way, those of largest |score| in either model, on the pairs on which heads were counted. A score is positive if corrupting the edge raises the loss; a name opens that head.`;
  return [readingLine(about), panels];
}

/** The heads of a set in words, and whether the numbers are the head's own. */
function headSetWords({ data, name }, set) {
  const names = data.sets[set].map((place) => `L${Math.floor(place / data.heads)}H${place % data.heads}`);
  return names.length === 1 ? `${name} alone` : `${names.length} heads together: ${names.join(" ")}`;
}

function rowsOnSets(view, table) {
  const rows = table.rows.filter((row) => row.variant === view.variant.name && view.data.sets[row.set].includes(view.place));
  return rows.map((row) => [headSetWords(view, row.set), ...row.cells]);
}

const OF_SETS = "These are numbers of whole sets, of which this head is one: what the set does need not be this head's doing.";

function removalTables(view) {
  const made = [];
  for (const table of view.data.tables) {
    const rows = rowsOnSets(view, table);
    if (rows.length) made.push(dataTable(table.name, table.caption, ["removed or scaled", ...table.columns], rows)[0]);
  }
  const isShared = view.data.tables.some((table) => rowsOnSets(view, table).some((row) => row[0].includes("together")));
  if (!made.length) return [readingLine("No head set that was removed or scaled in this run holds this head; what removing it alone does to the loss stands above, if it was measured.")];
  return [...(isShared ? [element("p", OF_SETS, "notice")] : []), ...made];
}

function failureTables(view) {
  const rows = view.data.failures ? rowsOnSets(view, view.data.failures) : [];
  if (!rows.length) return [readingLine("No removed head set whose answers were read holds this head.")];
  const isShared = rows.some((row) => row[0].includes("together"));
  return [...(isShared ? [element("p", OF_SETS, "notice")] : []), dataTable(view.data.failures.name, view.data.failures.caption, ["removed", ...view.data.failures.columns], rows)[0]];
}

/** The roles that the head plays in base or variant; none if they were not looked for. */
function playedRoles(view) {
  return (view.data.played[view.variant.name]?.played ?? []).filter((role) => role.head === view.place);
}

/** What the head reads in the variant's own answers, whether or not an answer needs that. */
function playedWords(view) {
  const ofVariant = view.data.played[view.variant.name];
  if (!ofVariant) return "Roles (previous token, induction, retrieval …) were not looked for in this variant's answers.";
  const words = (roles) => roles.map((role) => `${role.role} (${role.task}, ${role.words})`).join("; ");
  const after = playedRoles(view).filter((role) => role.after);
  const before = playedRoles(view).filter((role) => !role.after);
  const sentences = [];
  if (after.length) sentences.push(`What it reads: ${words(after)}.`);
  if (before.length) sentences.push(`What it read before training: ${words(before)}.`);
  if (sentences.length) return sentences.join(" ");
  const tested = [...new Set(ofVariant.tested)];
  if (!tested.length) return "Fewer than ten answers ask for any role (previous token, induction, retrieval …).";
  return `What it reads fits no role of those tested: ${tested.join(", ")}.`;
}

function roleTable(view) {
  const rows = [];
  const named = [];
  for (const grid of view.data.roles.filter((each) => each.variant === view.variant.name)) {
    const row = grid.heads.indexOf(view.place);
    if (row < 0) continue;
    grid.roles.forEach((role, column) => {
      const cell = row * grid.roles.length + column;
      const [change, low, high, q] = grid.columns.map((values) => values[cell]);
      const isNamed = grid.named.includes(cell);
      if (isNamed) named.push(`${role.name} (${grid.task}, ${threeDigits(change, true)} nats per token)`);
      rows.push([grid.model, grid.task, role.name, intervalText([change, low, high], true), `${threeDigits(q)}${isNamed ? " ●" : ""}`, String(role.texts)]);
    });
  }
  if (!rows.length) return [readingLine(`${playedWords(view)} Losses by role were not measured for this head.`)];
  const caption = "Change of the loss on the model's own correct answers when this head alone writes nothing, nats per token of each role, 95 % intervals over texts; ● q ≤ 0.05 over all heads and roles, and at least 0.05.";
  const words = named.length ? `Needed for: ${named.join("; ")}.` : "No role of tokens was found to need it.";
  return [readingLine(`${playedWords(view)} ${words}`), dataTable("head-roles", caption, ["model", "task", "role", "change", "q", "texts"], rows)[0]];
}
