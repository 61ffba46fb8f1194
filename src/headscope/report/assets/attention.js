// Where a head looks: heat maps of base, variant and difference, and the text shaded by what one token reads.
// Tokens are text nodes, whatever they hold.

import { element } from "./elements.js";
import { dataTable } from "./datatable.js";
import { onPointerMove } from "./pointer.js";
import { saveText } from "./tables.js";

const ATTENTION_VIEWS = ["base", "variant", "difference"];
const NO_ATTENTION = "Attention was not read in this run: discover.attention is off, or the run was made by an earlier version; headscope compare reads it.";
const MOST_READ = 8;
const LEAST_REST = 0.05;
const MAP_WIDTH = 360;

/** The bytes of bare deflate in base64. */
async function inflateText(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Weights of a tile, [query][key], of base and variant. */
async function readTile(tile, tokens, levels) {
  const bytes = await inflateText(tile);
  const cells = (tokens * (tokens + 1)) / 2;
  const weights = { base: [], variant: [] };
  let at = 0;
  for (let query = 0; query < tokens; query++) {
    const base = new Float32Array(query + 1);
    const variant = new Float32Array(query + 1);
    for (let key = 0; key <= query; key++, at++) {
      base[key] = (bytes[at] / levels) ** 2;
      variant[key] = (((bytes[at] + bytes[cells + at]) & 255) / levels) ** 2;
    }
    weights.base.push(base);
    weights.variant.push(variant);
  }
  return weights;
}

/** Set up the part; returns show(variant, head). */
export function setUpAttention(root, data) {
  const shown = { frame: null, head: "", text: 0, query: 0, view: "variant", weights: null };
  let parts = null;
  let asked = 0;

  function show(variant, head) {
    const frame = data.attention[variant];
    const tiles = frame?.tiles?.[head];
    const missing = whyMissing(frame, tiles, head);
    if (missing) {
      asked += 1;
      shown.weights = null;
      root.replaceChildren(element("p", missing, "reading"));
      return;
    }
    const isSameText = shown.frame === frame && tiles[shown.text];
    Object.assign(shown, { frame, head });
    if (!isSameText) shown.text = tiles.findIndex(Boolean);
    parts = attentionParts(shown, { chooseText, chooseQuery, chooseView, saveRows });
    root.replaceChildren(...parts.all);
    load(isSameText);
  }

  async function load(keepsQuery) {
    const turn = (asked += 1);
    const text = shown.frame.texts[shown.text];
    if (!keepsQuery) shown.query = text.pieces.length - 1;
    const weights = await readTile(shown.frame.tiles[shown.head][shown.text], text.pieces.length, shown.frame.levels);
    if (turn !== asked) return; // another head or text was asked for meanwhile
    shown.weights = weights;
    parts.fillText();
    draw();
    root.dataset.ready = `${shown.head} ${shown.text}`;
  }

  function draw() {
    if (shown.weights) parts.draw();
  }

  function chooseText(index) {
    shown.text = index;
    load(false);
  }

  function chooseQuery(index) {
    const last = shown.frame.texts[shown.text].pieces.length - 1;
    const query = Math.min(Math.max(index, 0), last);
    if (query === shown.query || !shown.weights) return;
    shown.query = query;
    draw();
  }

  function chooseView(view) {
    shown.view = view;
    draw();
  }

  function saveRows() {
    if (shown.weights) saveText(`attention-${shown.head}-text-${shown.text + 1}.csv`, rowsCsv(shown));
  }

  delete root.dataset.ready;
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return show;
}

function whyMissing(frame, tiles, head) {
  if (!frame) return NO_ATTENTION;
  if (frame.reason) return `Attention could not be read: ${frame.reason}.`;
  if (!tiles) return `Attention was read of ${frame.heads_are}; ${head} is not among them.`;
  if (!tiles.some(Boolean)) return "The attention of this head is in the run directory and not in this file, which holds that of new, lost and important heads, as much as fits into 1 MB.";
  if (typeof DecompressionStream === "undefined") return "This browser cannot unpack the attention; a newer one can (DecompressionStream).";
  return "";
}

/** The elements of the part: all of them, and functions that fill the text and draw what is shown. */
function attentionParts(shown, on) {
  const choosers = element("p", "", "choosers");
  const texts = document.createElement("select");
  texts.append(...textOptions(shown));
  texts.value = String(shown.text);
  texts.addEventListener("change", () => on.chooseText(Number(texts.value)));
  choosers.append(labelledControl("Text", texts));
  const maps = ATTENTION_VIEWS.map((view) => heatMap(view, on.chooseQuery));
  const panels = element("div", "", "heat-maps");
  panels.append(...maps.map(({ panel }) => panel));
  const tokens = tokenText(on.chooseQuery);
  const views = viewChooser(shown, on.chooseView);
  const line = element("p", "", "reading");
  line.setAttribute("aria-live", "polite");
  const table = element("div", "");
  const about = element("p", "", "reading");
  const save = element("button", "All rows of this text as CSV");
  save.type = "button";
  save.addEventListener("click", on.saveRows);
  const tools = element("p", "", "tools");
  tools.append(save);

  const fillText = () => {
    const text = shown.frame.texts[shown.text];
    about.textContent = aboutText(shown, text);
    tokens.fill(text);
  };
  const draw = () => {
    for (const map of maps) map.draw(shown);
    tokens.shade(shown);
    line.replaceChildren(...queryLine(shown));
    table.replaceChildren(mostRead(shown));
  };
  return { all: [about, choosers, panels, views, tokens.box, line, table, tools], fillText, draw };
}

function textOptions({ frame, head }) {
  return frame.texts.map((text, index) => {
    const option = new Option(`${index + 1}: ${text.problem ? `problem ${text.problem}, ` : ""}${text.pieces.length} tokens`, String(index));
    option.disabled = !frame.tiles[head][index];
    return option;
  });
}

function aboutText({ frame, head }, text) {
  const cut = text.length > text.pieces.length ? ` Of ${text.length} tokens the first ${text.pieces.length} were read, whose rows are those of the whole text.` : "";
  const differ = text.shared < text.pieces.length ? " Underlined: where the clean text of the pair begins to differ from its corrupt one." : "";
  const missing = frame.tiles[head].filter((tile) => !tile).length;
  const left = missing ? ` ${missing} of the texts ${missing === 1 ? "is" : "are"} in the run directory alone for this head, as this file holds 1 MB of attention.` : "";
  return `The same tokens in both models: ${frame.chosen}.${cut}${differ} Weights are kept to within 0.02 (near 1) and 0.002 (near 0.01).${left}`;
}

function labelledControl(text, control) {
  const label = element("label", `${text} `);
  label.append(control);
  return label;
}

function viewChooser(shown, chooseView) {
  const group = element("fieldset", "", "choosers");
  group.append(element("legend", "Shade the text by"));
  for (const view of ATTENTION_VIEWS) {
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "attention-view";
    radio.value = view;
    radio.checked = view === shown.view;
    radio.addEventListener("change", () => chooseView(view));
    const label = element("label", "");
    label.append(radio, ` ${view}`);
    group.append(label);
  }
  return group;
}

/** The value of a cell in a view. */
function weightIn(view, weights, query, key) {
  if (view !== "difference") return weights[view][query][key];
  return weights.variant[query][key] - weights.base[query][key];
}

function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).split(",").map(Number);
  return { more: colour("--look"), less: colour("--look-less"), line: style.getPropertyValue("--chosen") };
}

/** One heat map, a row per reading token from the top; returns its panel and draw(shown). */
function heatMap(view, chooseQuery) {
  const panel = element("div", "", "panel heat-map");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.dataset.view = view;
  const small = document.createElement("canvas");
  panel.append(element("h4", view), canvas, element("p", view === "difference" ? "variant − base: blue more, red less" : "faint 0 · strong 1", "scale"));
  const chooseAtPointer = (event) => {
    const box = canvas.getBoundingClientRect();
    chooseQuery(Math.floor(((event.clientY - box.top) / box.height) * small.height));
  };
  onPointerMove(canvas, chooseAtPointer);
  canvas.addEventListener("click", chooseAtPointer);

  function draw({ weights, query, head }) {
    const tokens = weights.base.length;
    const { more, less, line } = themeColours();
    small.width = small.height = tokens;
    const image = new ImageData(tokens, tokens);
    for (let row = 0; row < tokens; row++) {
      for (let key = 0; key <= row; key++) {
        const value = weightIn(view, weights, row, key);
        // The root of the weight, so that small ones can be seen.
        image.data.set([...(value < 0 ? less : more), 255 * Math.sqrt(Math.abs(value))], 4 * (row * tokens + key));
      }
    }
    small.getContext("2d").putImageData(image, 0, 0);
    const scale = Math.max(1, Math.floor((2 * MAP_WIDTH) / tokens));
    canvas.width = canvas.height = scale * tokens;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    context.strokeStyle = line;
    context.lineWidth = 2;
    context.strokeRect(1, query * scale, (query + 1) * scale, scale);
    canvas.setAttribute("aria-label", `Attention of ${head}, ${view}: ${tokens} tokens that read, downwards, and those they read, across. The row that is outlined is in the table below.`);
  }
  return { panel, draw };
}

/** The text whose tokens choose the row; returns its box, fill(text) and shade(shown). */
function tokenText(chooseQuery) {
  const box = element("div", "", "tokens");
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "The text, token by token; left and right arrow choose the token that reads");
  let spans = [];
  let query = 0;
  const chooseAtPointer = (event) => {
    const index = spans.indexOf(event.target.closest?.(".token"));
    if (index >= 0) chooseQuery(index);
  };
  onPointerMove(box, chooseAtPointer);
  box.addEventListener("click", chooseAtPointer);
  box.addEventListener("keydown", (event) => {
    const next = { ArrowLeft: query - 1, ArrowRight: query + 1, Home: 0, End: spans.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    chooseQuery(next);
  });

  function fill(text) {
    spans = text.pieces.map((piece, index) => {
      const span = element("bdi", piece, "token");
      if (!piece) span.classList.add("empty");
      if (piece.includes("\n")) span.classList.add("newline");
      if (index >= text.shared) span.classList.add("differs");
      return span;
    });
    box.replaceChildren(...spans);
  }

  function shade(shown) {
    query = shown.query;
    spans.forEach((span, key) => {
      const value = key <= query ? weightIn(shown.view, shown.weights, query, key) : 0;
      const strength = 0.6 * Math.sqrt(Math.abs(value));
      span.style.backgroundColor = strength < 0.02 ? "" : `rgba(var(${value < 0 ? "--look-less" : "--look"}), ${strength.toFixed(2)})`;
      span.classList.toggle("reads", key === query);
      span.classList.toggle("unread", key > query);
    });
  }
  return { box, fill, shade };
}

function rowSum(row) {
  return row.reduce((total, value) => total + value, 0);
}

function queryLine({ frame, text, query, weights }) {
  const parts = [`Token ${query + 1} of ${frame.texts[text].pieces.length}, `, element("bdi", visibleToken(frame.texts[text].pieces[query]), "token"), ", reads:"];
  const rests = ["base", "variant"].map((side) => 1 - rowSum(weights[side][query]));
  if (Math.max(...rests) > LEAST_REST) parts.push(` (${rests.map((rest, index) => `${["base", "variant"][index]} ${rest.toFixed(2)}`).join(", ")} goes to the model's attention sink, which is no token)`);
  return parts;
}

/** A token as tables show it: with a sign for what has no shape. */
function visibleToken(piece) {
  return piece.trim() ? piece : piece ? piece.replaceAll("\n", "⏎").replaceAll(" ", "␣") : "∅";
}

function mostRead(shown) {
  const { frame, text, query, weights } = shown;
  const value = (key) => Math.max(weights.base[query][key], weights.variant[query][key]);
  const keys = Array.from({ length: query + 1 }, (_, key) => key).sort((one, other) => value(other) - value(one)).slice(0, MOST_READ);
  const rows = keys.map((key) => {
    const token = element("td", "");
    token.append(element("bdi", visibleToken(frame.texts[text].pieces[key]), "token"));
    const [base, variant] = [weights.base[query][key], weights.variant[query][key]];
    return [token, String(key + 1), base.toFixed(2), variant.toFixed(2), signedShare(variant - base)];
  });
  return dataTable("head-attention", `The ${keys.length} tokens read most by token ${query + 1}, in either model.`, ["token", "place", "base", "variant", "difference"], rows)[0];
}

function signedShare(value) {
  const text = Math.abs(value).toFixed(2);
  return text === "0.00" ? text : `${value > 0 ? "+" : "−"}${text}`;
}

function rowsCsv({ weights }) {
  const lines = ["query,key,base,variant"];
  weights.base.forEach((row, query) => row.forEach((base, key) => lines.push([query + 1, key + 1, base.toFixed(4), weights.variant[query][key].toFixed(4)].join())));
  return `${lines.join("\r\n")}\r\n`;
}
