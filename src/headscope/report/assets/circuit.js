// The circuit page: what its controls choose, drawn on the grid and listed in the table.

import { choose, parseHead } from "./state.js";
import { element } from "./elements.js";
import { headButton } from "./heads.js";
import { onPointerMove } from "./pointer.js";
import { edgesInView, headNode, nodeName, strongestPaths, unpackCircuit } from "./circuit-data.js";
import { layOut } from "./circuit-layout.js";
import { drawCircuit } from "./circuit-draw.js";
import { ablationConfig, copyText, pinItem } from "./circuit-pins.js";
import { setUpEdgeTable, shortNumber } from "./circuit-table.js";

const SIZE_LADDER = [1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 700, 1000, 1400, 2000];
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };

/** Set up the block of circuits. Returns show(state, isPrinting). */
export function setUpCircuit(block) {
  const data = JSON.parse(block.querySelector(".circuit-data").textContent);
  const circuits = new Map(data.circuits.map((packed) => [packed.variant, packed]));
  const part = (name) => block.querySelector(`[data-${name}]`);
  const canvas = block.querySelector("canvas");
  const showRows = setUpEdgeTable(block);
  const view = { state: null, circuit: null, layout: null, shown: [], stops: [], cursor: null, isPrinting: false, width: 0, colours: {} };

  function show(state, isPrinting = false) {
    const name = state.variant || circuits.keys().next().value;
    const packed = circuits.get(name);
    part("absent").hidden = Boolean(packed);
    part("present").hidden = !packed;
    if (!packed) return;
    if (view.circuit?.variant !== name) takeCircuit(packed);
    view.state = state;
    view.isPrinting = isPrinting;
    const size = sizeOf(state);
    view.shown = edgesInView(view.circuit, state.view, size);
    showControls(size);
    showHead();
    showPins();
    draw();
    showRows(view.circuit, view.shown, isPrinting);
  }

  function takeCircuit(packed) {
    view.circuit = unpackCircuit(packed);
    view.stops = sizeStops(packed);
    part("size").max = view.stops.length - 1;
    part("marks").replaceChildren(...packed.sizes.map(({ edges }) => new Option("", String(view.stops.indexOf(edges)))));
    part("evaluated").replaceChildren(...packed.sizes.map((size) => sizeRow(size, packed)));
    for (const label of block.querySelectorAll("[data-variant-name]")) label.textContent = packed.variant;
    view.cursor = null;
  }

  const sizeOf = (state) => Math.min(state.size || view.circuit.size, view.circuit.total);

  function showControls(size) {
    const { circuit, state, stops, shown } = view;
    const nearest = stops.reduce((best, stop, place) => (Math.abs(Math.log(stop / size)) < Math.abs(Math.log(stops[best] / size)) ? place : best), 0);
    part("size").value = String(nearest);
    part("size").setAttribute("aria-valuetext", `${size} edges`);
    for (const radio of block.querySelectorAll("[name=circuit-view]")) radio.checked = radio.value === state.view;
    for (const row of part("evaluated").rows) row.toggleAttribute("aria-current", Number(row.dataset.edges) === size);
    part("title").textContent = `base → ${circuit.variant}, step ${circuit.step}`;
    part("size-text").textContent = sizeText(circuit, size);
    part("counts").textContent = countText(state.view, shown, size > circuit.most);
    part("shared").hidden = circuit.readers === circuit.heads;
    part("signs").hidden = state.view === "difference";
    part("changes").hidden = state.view !== "difference";
  }

  function showHead() {
    const { circuit, shown, state } = view;
    const head = state.head && parseHead(state.head);
    const node = head ? headNode(circuit, head) : null;
    part("head-panel").hidden = node === null;
    view.lit = null;
    if (node === null) return;
    const { entering, leaving } = edgesAt(node);
    const paths = strongestPaths(circuit, shown, node);
    if (entering.length + leaving.length) view.lit = new Set([...[...entering, ...leaving].map(({ edge }) => edge), ...paths.flatMap(({ edges }) => edges)]);
    part("head-name").textContent = state.head;
    part("head-counts").textContent = `${counted(entering)} in (${portCounts(entering)}), ${counted(leaving)} out.`;
    part("pin").textContent = state.pins.includes(state.head) ? "Unpin" : "Pin";
    part("paths").replaceChildren(...paths.map((path) => pathItem(circuit, path)));
    part("with-paths").hidden = !paths.length;
    part("no-path").hidden = paths.length > 0;
  }

  /** The edges of the view that enter a node, and those that leave it. */
  function edgesAt(node) {
    const entering = view.shown.filter(({ edge }) => edge.reader.nodes.includes(node));
    return { entering, leaving: view.shown.filter(({ edge }) => edge.source === node) };
  }

  function showPins() {
    const { pins } = view.state;
    part("pins-panel").hidden = !pins.length;
    part("pins").replaceChildren(...pins.map((pin) => pinItem(pin, () => togglePin(pin))));
    part("config").textContent = ablationConfig(pins);
  }

  function togglePin(head) {
    const { pins } = view.state;
    choose({ pins: pins.includes(head) ? pins.filter((pin) => pin !== head) : [...pins, head] });
  }

  function draw() {
    const { circuit, state, shown, lit, cursor } = view;
    const start = performance.now();
    // Asking for either makes the browser lay out the page, so both are kept until they change.
    view.width ||= part("frame").clientWidth;
    const colours = (view.colours[view.isPrinting ? "print" : "screen"] ??= coloursOf(block, data.colours, view.isPrinting));
    const layout = layOut(circuit, view.width);
    const context = sizeCanvas(canvas, layout.size);
    const nodeOf = (name) => headNode(circuit, parseHead(name));
    const scene = {
      circuit, layout, shown, lit, colours,
      view: state.view,
      chosen: state.head ? nodeOf(state.head) : null,
      cursor: cursor && document.activeElement === canvas ? headNode(circuit, cursor) : null,
      pinned: new Set(state.pins.map(nodeOf)),
    };
    drawCircuit(context, scene);
    view.layout = layout;
    canvas.dataset.milliseconds = (performance.now() - start).toFixed(1);
  }

  function headAtPointer(event) {
    const box = canvas.getBoundingClientRect();
    const scale = view.layout.size.width / box.width;
    return view.layout.headAt((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
  }

  const toggle = ({ layer, head }) => choose({ head: view.state.head === `L${layer}H${head}` ? "" : `L${layer}H${head}` });

  function moveCursor([up, right]) {
    const { layers, heads } = view.circuit;
    const from = view.cursor ?? parseHead(view.state.head);
    const to = from ? { layer: from.layer + up, head: from.head + right } : { layer: 0, head: 0 };
    view.cursor = { layer: Math.min(layers - 1, Math.max(0, to.layer)), head: Math.min(heads - 1, Math.max(0, to.head)) };
    tell(view.cursor);
    draw();
  }

  /** Say what is in the view of a head, to screen readers too. */
  function tell(head) {
    if (!head) {
      part("pointed").textContent = "\u00a0";
      return;
    }
    const { entering, leaving } = edgesAt(headNode(view.circuit, head));
    part("pointed").textContent = `L${head.layer}H${head.head}: ${entering.length} in, ${leaving.length} out`;
  }

  canvas.addEventListener("click", (event) => {
    const head = headAtPointer(event);
    if (!head) return;
    view.cursor = head;
    toggle(head);
  });
  onPointerMove(canvas, (event) => tell(headAtPointer(event)));
  canvas.addEventListener("pointerleave", () => tell(view.cursor));
  canvas.addEventListener("focus", () => moveCursor([0, 0]));
  canvas.addEventListener("blur", draw);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      Enter: () => toggle(view.cursor),
      " ": () => toggle(view.cursor),
      p: () => togglePin(`L${view.cursor.layer}H${view.cursor.head}`),
      Escape: () => choose({ head: "" }),
    };
    if (!Object.hasOwn(MOVES, event.key) && !Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    if (!view.cursor) moveCursor([0, 0]);
    if (Object.hasOwn(MOVES, event.key)) moveCursor(MOVES[event.key]);
    else actions[event.key]();
  });
  part("size").addEventListener("input", (event) => choose({ size: view.stops[event.target.value] }, true));
  for (const radio of block.querySelectorAll("[name=circuit-view]")) radio.addEventListener("change", () => choose({ view: radio.value }));
  part("pin").addEventListener("click", () => togglePin(view.state.head));
  part("copy").addEventListener("click", () => copyText(part("config")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    view.colours = {};
    if (view.state) draw();
  });
  new ResizeObserver(() => {
    view.width = 0;
    if (view.state && block.checkVisibility()) draw();
  }).observe(part("frame"));
  return show;
}

/** The sizes that the slider stops at: round numbers that the page holds, and those that were evaluated. */
function sizeStops({ sizes, size, total, most }) {
  const round = SIZE_LADDER.filter((stop) => stop <= Math.min(total, most));
  return [...new Set([...round, ...sizes.map(({ edges }) => edges), size])].sort((one, other) => one - other);
}

/** A row of the evaluated sizes, with a button that chooses it. */
function sizeRow({ edges, share, base, variant }, packed) {
  const row = document.createElement("tr");
  row.dataset.edges = String(edges);
  const button = element("button", edges.toLocaleString("en"));
  button.type = "button";
  button.addEventListener("click", () => choose({ size: edges }));
  const cell = element("td", "");
  cell.append(button);
  if (edges === packed.size) row.className = "counted";
  row.append(cell, ...[percent(share), base ?? "–", variant ?? "–"].map((text) => element("td", text)));
  return row;
}

const percent = (share) => `${Number((100 * Number(share)).toPrecision(3))} %`;

function sizeText(circuit, size) {
  const measured = circuit.sizes.find(({ edges }) => edges === size);
  const share = percent(measured?.share ?? size / circuit.total);
  const of = `${size.toLocaleString("en")} of ${circuit.total.toLocaleString("en")} edges (${share})`;
  const least = circuit.tau ? ` Edges of a mean |score| below ${shortNumber(circuit.tau)} (τ) are left out here; faithfulness was measured with them.` : "";
  const held = size > circuit.most ? ` Only the strongest ${circuit.most.toLocaleString("en")} of either model are here.${least}` : least;
  if (measured) return `${of}: faithfulness ${measured.base ?? "unknown"} in base, ${measured.variant ?? "unknown"} in ${circuit.variant}.${held}`;
  const below = circuit.sizes.findLast(({ edges }) => edges < size);
  const above = circuit.sizes.find(({ edges }) => edges > size);
  const around = [below, above].filter(Boolean).map(({ edges, base, variant }) => `${edges.toLocaleString("en")} edges: ${base ?? "–"} / ${variant ?? "–"}`);
  return `${of}: faithfulness was not measured here${around.length ? `; next to it, ${around.join(", ")} (base / ${circuit.variant})` : ""}.${held}`;
}

function countText(viewName, shown, hasLooseEnds) {
  const count = (change) => shown.filter((item) => item.change === change).length.toLocaleString("en");
  if (!shown.length) return "All of them are loose ends: no path of so few edges leads from the input to the logits.";
  const which = `${counted(shown)} ${hasLooseEnds ? "with" : "without"} loose ends`;
  if (viewName !== "difference") return `${which}.`;
  return `${which}: ${count("kept")} kept, ${count("born")} born, ${count("lost")} lost.`;
}

const counted = (items) => `${items.length.toLocaleString("en")} ${items.length === 1 ? "edge" : "edges"}`;

function portCounts(items) {
  return ["q", "k", "v"].map((port) => `${port} ${items.filter(({ edge }) => edge.reader.port === port).length}`).join(", ");
}

function pathItem(circuit, { edges, nodes, weakest }) {
  const item = document.createElement("li");
  nodes.forEach((node, place) => {
    const port = place ? edges[place - 1].reader.port : "";
    const name = nodeName(circuit, node);
    item.append(place ? ` → ` : "", /^L/.test(name) ? headButton(name) : name, port ? ` (${port})` : "");
  });
  item.append(`; weakest edge ${shortNumber(weakest)}`);
  return item;
}

/** Give a canvas its size on the page, with as many dots as the screen has there. Returns its context. */
function sizeCanvas(canvas, { width, height }) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}

/** Colours of the theme, and of edges, each of which comes for light and for dark pages. Paper is light. */
function coloursOf(block, pairs, isPrinting) {
  const isDark = !isPrinting && matchMedia("(prefers-color-scheme: dark)").matches;
  const styles = getComputedStyle(block);
  const themed = Object.fromEntries(["ink", "soft", "line", "card", "ground", "chosen"].map((name) => [name, styles.getPropertyValue(`--${name}`)]));
  const paper = { ink: "#000", soft: "#333", line: "#bbb", card: "#fff", ground: "#ffffff", chosen: "#d55e00" };
  const edges = Object.fromEntries(Object.entries(pairs).map(([name, [light, dark]]) => [name, isDark ? dark : light]));
  return { ...(isPrinting ? paper : themed), ...edges };
}
