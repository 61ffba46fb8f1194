// Where nodes and edges of a circuit lie: the same place for a head in every circuit. Inputs below, logits above.

const LABELS = 46; // pixels left of the grid
const AXIS = 40; // below the input

/** Places for a circuit on a canvas of some width. */
export function layOut(circuit, width) {
  const { layers, heads } = circuit;
  const cell = Math.min(112, Math.max(17, (width - LABELS) / (heads + 2)));
  const row = Math.min(96, Math.max(28, 640 / layers));
  const top = 26;
  const base = top + (layers + 0.75) * row;
  const size = { width: LABELS + cell * (heads + 2), height: base + AXIS };
  const box = { width: Math.min(cell * 0.56, 46), height: Math.min(Math.max(row * 0.3, 14), 22) }; // 14 holds a name
  const columnX = (column) => LABELS + cell * (column + 0.5);

  function place(node) {
    const layer = Math.floor((node - 1) / (heads + 1));
    const column = (node - 1) % (heads + 1);
    // An MLP reads its layer's heads, so it lies above them.
    const rise = column === heads ? 0.85 : 0.5;
    return { x: column === heads ? columnX(heads) + cell * 0.25 : columnX(column), y: base - (layer + rise) * row, layer, column };
  }

  function portAt(reader) {
    const { x, y } = place(reader.nodes[0]);
    if (!reader.port) return { x, y: y + box.height / 2 };
    const shift = { q: -1, k: 0, v: 1 }[reader.port] * box.width * 0.34;
    const middle = (x + place(reader.nodes.at(-1)).x) / 2;
    return { x: middle + shift, y: y + box.height / 2 + (reader.nodes.length > 1 ? 5 : 1) };
  }

  /** Bezier segments of an edge: the start, then for each segment two control points and its end. */
  function curve(edge) {
    const to = edge.reader.name === "logits" ? { x: 0, y: top } : portAt(edge.reader);
    if (edge.source === 0) return risingFromInput(to, edge.reader.layer);
    const from = place(edge.source);
    const start = { x: from.x, y: from.y - box.height / 2 };
    if (edge.reader.name === "logits") return risingToLogits(start, from);
    const bow = Math.abs(start.x - to.x) < cell * 0.6 && edge.reader.layer - from.layer > 1 ? bowWidth(from, edge) : 0;
    const reach = Math.min((start.y - to.y) * 0.5, row * 1.4);
    return { start, segments: [[start.x + bow, start.y - reach, to.x + bow, to.y + reach, to.x, to.y]] };
  }

  // Between the nodes of one column an edge would run through all heads on its way.
  function bowWidth(from, edge) {
    const span = edge.reader.layer - from.layer;
    return cell * Math.min(1.1, 0.5 + 0.06 * span) * (from.column === heads || from.column === 0 ? 1 : -1);
  }

  // The input is a bar: its edges rise between the columns, each layer's in a lane of its own, and turn in at the end.
  function risingFromInput(to, layer) {
    const lane = to.x - cell * (0.36 + 0.14 * (layer / layers));
    const turn = Math.min(base, to.y + row * 0.55);
    const rise = [lane, base, lane, turn, lane, turn];
    return { start: { x: lane, y: base }, segments: [rise, [lane, to.y + row * 0.2, to.x, to.y + row * 0.3, to.x, to.y]] };
  }

  // So are the logits, on the other side of the columns.
  function risingToLogits(start, from) {
    const lane = start.x + cell * (0.36 + 0.14 * (from.layer / layers));
    const turn = Math.max(top, start.y - row * 0.45);
    return { start, segments: [[start.x, start.y - row * 0.25, lane, start.y - row * 0.2, lane, turn], [lane, turn, lane, top, lane, top]] };
  }

  /** The head whose cell holds a point, or null. */
  function headAt(x, y) {
    const head = Math.floor((x - LABELS) / cell);
    const layer = Math.floor((base - y) / row);
    return head >= 0 && head < heads && layer >= 0 && layer < layers ? { layer, head } : null;
  }

  return { size, cell, row, top, base, box, left: LABELS, columnX, place, portAt, curve, headAt };
}
