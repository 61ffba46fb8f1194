// A circuit on a canvas: edges weakest first, then the heads on top of them.

import { nodeName } from "./circuit-data.js";
import { makeRaster, packColour } from "./circuit-raster.js";

const PORT_DASHES = { q: null, k: [7, 4], v: [1.5, 3.5], "": null };
const FADED = 0.07;
const LABELLED = 40; // pixels of a box that holds its head's name
const FONT = "system-ui, sans-serif";

/**
 * Draw a view. scene: circuit, layout, shown (of edgesInView), view, colours by name, and what stands out: chosen, cursor
 * and pinned nodes, and lit, the edges of the chosen head and of its paths (null if none is chosen).
 */
export function drawCircuit(context, scene) {
  const edges = scene.shown.map((item) => edgeLook(scene, item)).reverse();
  drawEdges(context, scene, [...edges.filter(({ isLit }) => !isLit), ...edges.filter(({ isLit }) => isLit)]);
  drawFrame(context, scene);
  drawNodes(context, scene);
}

/** How an edge is drawn. share: the root of its strength relative to the strongest. */
function edgeLook({ layout, shown, lit, view }, { edge, change, strength }) {
  const share = Math.sqrt(strength / (shown[0].strength || 1));
  const crowd = Math.max(0.45, 1.1 - shown.length / 2500);
  // What training changed stands out from what it left.
  const weight = view === "difference" ? { kept: 0.7, born: 1.6, lost: 1.6 }[change] : 1;
  const isLit = !lit || lit.has(edge);
  return {
    curve: layout.curve(edge),
    look: view === "difference" ? change : edge.score[view] < 0 ? "negative" : "positive",
    port: edge.reader.port,
    share,
    isLit,
    alpha: !isLit ? FADED : lit ? 1 : Math.min(1, (0.22 + 0.78 * share) * crowd * weight),
    width: 0.6 + 3.4 * share * share, // in proportion to the score
  };
}

/** Draw edges, the topmost last. */
function drawEdges(context, { colours }, edges) {
  const scale = context.getTransform().a; // dots of the screen per pixel of the page
  const raster = makeRaster(context.canvas.width, context.canvas.height, packColour(colours.ground));
  const scaled = ([port, dash]) => [port, dash && dash.map((part) => part * scale)];
  const dashes = Object.fromEntries(Object.entries(PORT_DASHES).map(scaled));
  for (const { curve, look, port, alpha, width } of edges) {
    raster.curve(curve, scale, { colour: packColour(colours[look]), alpha, width: width * scale, dash: dashes[port] });
  }
  context.putImageData(raster.image, 0, 0);
  for (const edge of edges) if (edge.isLit && (edge.look === "born" || edge.look === "lost")) drawChange(context, colours, edge);
}

/** Mark a born edge with a diamond and a lost one with a cross, in its middle. */
function drawChange(context, colours, { curve: { start, segments }, look: change, share, alpha }) {
  const size = 2.5 + 2.5 * share;
  const place = segments.length > 1 && segments[0][0] !== start.x ? 0 : segments.length - 1;
  const from = place === 0 ? start : { x: segments[0][4], y: segments[0][5] };
  const [ax, ay, bx, by, x1, y1] = segments[place];
  const x = (from.x + 3 * ax + 3 * bx + x1) / 8;
  const y = (from.y + 3 * ay + 3 * by + y1) / 8;
  context.globalAlpha = alpha;
  context.strokeStyle = colours[change];
  context.beginPath();
  if (change === "born") {
    context.moveTo(x, y - size);
    for (const [dx, dy] of [[size, 0], [0, size], [-size, 0]]) context.lineTo(x + dx, y + dy);
    context.fillStyle = context.strokeStyle;
    context.fill();
  } else {
    context.lineWidth = 1.4;
    for (const turn of [1, -1]) {
      context.moveTo(x - size, y - size * turn);
      context.lineTo(x + size, y + size * turn);
    }
    context.stroke();
  }
}

/** Draw bars for input and logits, and the names of layers and heads. */
function drawFrame(context, { circuit, layout, colours }) {
  const { base, top, left, cell, row, columnX, size } = layout;
  context.globalAlpha = 1;
  context.setLineDash([]);
  context.font = `12px ${FONT}`;
  context.fillStyle = colours.soft;
  context.textAlign = "right";
  const everyLayer = row < 15 ? 4 : row < 26 ? 2 : 1;
  for (let layer = 0; layer < circuit.layers; layer += everyLayer) context.fillText(String(layer), left - 14, base - (layer + 0.5) * row + 4);
  context.textAlign = "center";
  const everyHead = cell < 22 ? 4 : cell < 30 ? 2 : 1;
  for (let head = 0; head < circuit.heads; head += everyHead) context.fillText(String(head), columnX(head), base + 18);
  context.fillText("MLP", columnX(circuit.heads) + cell * 0.25, base + 18);
  context.fillText("head", left + (cell * circuit.heads) / 2, base + 34);
  context.textAlign = "left";
  context.fillText("layer", 0, base + 18);
  for (const [name, y] of [["input", base], ["logits", top]]) {
    context.fillStyle = colours.line;
    context.fillRect(left, y - 1.5, size.width - left - 4, 3);
    context.fillStyle = colours.ink;
    context.fillText(name, 0, y + 4);
  }
}

function drawNodes(context, scene) {
  const { circuit, layout, shown, colours, chosen, pinned } = scene;
  const inPlay = new Set();
  for (const { edge } of shown) {
    inPlay.add(edge.source);
    for (const node of edge.reader.nodes) inPlay.add(node);
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  drawSharedPorts(context, scene, inPlay);
  for (let node = 1; node < circuit.logits; node++) {
    const { x, y } = layout.place(node);
    if (inPlay.has(node) || node === chosen || pinned.has(node)) drawNode(context, scene, node);
    else {
      context.fillStyle = colours.line;
      context.beginPath();
      context.arc(x, y, 1.8, 0, 7);
      context.fill();
    }
  }
  if (scene.cursor !== null) ring(context, layout, scene.cursor, colours.ink, [3, 3], 6);
}

function drawNode(context, scene, node) {
  const { circuit, layout, colours, chosen, pinned } = scene;
  const { x, y, column } = layout.place(node);
  const { height } = layout.box;
  const isLabelled = layout.box.width >= LABELLED;
  const isMlp = column === circuit.heads;
  const width = layout.box.width + (isMlp && isLabelled ? 8 : 0); // its name is longer, and its ends are round
  context.fillStyle = pinned.has(node) ? colours.pin : colours.card;
  context.strokeStyle = isLabelled ? colours.ink : colours.soft;
  context.lineWidth = isLabelled ? 1.2 : 0.9;
  context.beginPath();
  context.roundRect(x - width / 2, y - height / 2, width, height, isMlp ? height / 2 : 3);
  context.fill();
  context.stroke();
  if (!isMlp) drawPorts(context, scene, x, y);
  const name = nodeName(circuit, node);
  if (node === chosen) ring(context, layout, node, colours.chosen, [], 3.5);
  if (isLabelled) label(context, colours, name, x, y);
  else if (node === chosen || pinned.has(node)) label(context, colours, name, x, y - height / 2 - 9, colours.ground);
}

/** Draw ticks for a head's own inputs, q, k and v from left to right; those of a group are drawn once, below its heads. */
function drawPorts(context, { circuit, layout, colours }, x, y) {
  context.beginPath();
  for (const shift of circuit.readers < circuit.heads ? [-1] : [-1, 0, 1]) {
    const at = x + shift * layout.box.width * 0.34;
    context.moveTo(at, y + layout.box.height / 2);
    context.lineTo(at, y + layout.box.height / 2 + 3);
  }
  context.stroke();
}

/** Draw a bar below the heads that share k and v, darker if one of them is in the circuit. */
function drawSharedPorts(context, { circuit, layout, colours }, inPlay) {
  const group = circuit.heads / circuit.readers;
  if (group === 1) return;
  context.lineWidth = 1.2;
  for (let layer = 0; layer < circuit.layers; layer++) {
    for (let first = 0; first < circuit.heads; first += group) {
      const node = 1 + layer * (circuit.heads + 1) + first;
      const y = layout.place(node).y + layout.box.height / 2 + 4;
      const isInPlay = Array.from({ length: group }, (_, head) => node + head).some((each) => inPlay.has(each));
      context.strokeStyle = isInPlay ? colours.soft : colours.line;
      context.beginPath();
      context.moveTo(layout.place(node).x - layout.box.width / 2, y);
      context.lineTo(layout.place(node + group - 1).x + layout.box.width / 2, y);
      context.stroke();
    }
  }
}

function label(context, colours, text, x, y, ground = null) {
  context.font = `600 11px ${FONT}`;
  context.textAlign = "center";
  if (ground) {
    const width = context.measureText(text).width + 6;
    context.fillStyle = ground;
    context.fillRect(x - width / 2, y - 7, width, 14);
  }
  context.fillStyle = colours.ink;
  context.fillText(text, x, y + 4);
}

function ring(context, layout, node, colour, dash, gap) {
  const { x, y } = layout.place(node);
  const { width, height } = layout.box;
  context.strokeStyle = colour;
  context.lineWidth = 2.5;
  context.setLineDash(dash);
  context.beginPath();
  context.roundRect(x - width / 2 - gap, y - height / 2 - gap, width + 2 * gap, height + 2 * gap, 5);
  context.stroke();
  context.setLineDash([]);
}
