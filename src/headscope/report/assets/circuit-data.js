// Circuits as the page holds them (report/circuit_pairs.py): unpacked edges, and which of them are in a circuit of a size.

const SCORE_STEPS = 1024; // per factor of 2

/**
 * The edges of a packed circuit. Nodes are numbered as the graph's sources: 0 the input, then layer by layer its heads and
 * its MLP; last come the logits. An edge has source, reader (what it enters), and rank and score of base and variant.
 */
export function unpackCircuit(packed) {
  const { layers, heads, readers, count } = packed;
  const bytes = Uint8Array.from(atob(packed.edges), (letter) => letter.charCodeAt(0));
  const words = (place) => new Uint32Array(bytes.buffer, 4 * place * count, count);
  const codes = (place) => new Int16Array(bytes.buffer, (12 + 2 * place) * count, count);
  const score = (code) => (code === 0 ? 0 : Math.sign(code) * packed.largest * 2 ** ((1 - Math.abs(code)) / SCORE_STEPS));
  const [index, baseRank, variantRank, baseCode, variantCode] = [words(0), words(1), words(2), codes(0), codes(1)];
  const columns = layers * (heads + 2 * readers + 1) + 1;
  const nodeReaders = Array.from({ length: columns }, (_, column) => readerAt(column, packed));
  const edges = Array.from(index, (place, edge) => ({
    source: Math.floor(place / columns),
    reader: nodeReaders[place % columns],
    rank: { base: baseRank[edge], variant: variantRank[edge] },
    score: { base: score(baseCode[edge]), variant: score(variantCode[edge]) },
  }));
  return { ...packed, edges, logits: 1 + layers * (heads + 1) };
}

/** What a destination is: its nodes (several heads where they share k and v), layer, port ("" for MLP and logits), name. */
function readerAt(column, { layers, heads, readers }) {
  const perLayer = heads + 2 * readers + 1;
  const layer = Math.floor(column / perLayer);
  const first = 1 + layer * (heads + 1);
  if (layer === layers) return { column, nodes: [first], layer, port: "", name: "logits" };
  let place = column % perLayer;
  for (const [port, count] of [["q", heads], ["k", readers], ["v", readers]]) {
    if (place < count) {
      const group = heads / count;
      const from = place * group;
      const name = `L${layer}H${from}${group > 1 ? `-${from + group - 1}` : ""}`;
      return { column, nodes: Array.from({ length: group }, (_, head) => first + from + head), layer, port, name };
    }
    place -= count;
  }
  return { column, nodes: [first + heads], layer, port: "", name: `MLP ${layer}` };
}

/** The node of a head. */
export function headNode(circuit, { layer, head }) {
  return 1 + layer * (circuit.heads + 1) + head;
}

/** What people call a node. */
export function nodeName(circuit, node) {
  if (node === 0) return "input";
  if (node === circuit.logits) return "logits";
  const layer = Math.floor((node - 1) / (circuit.heads + 1));
  const head = (node - 1) % (circuit.heads + 1);
  return head === circuit.heads ? `MLP ${layer}` : `L${layer}H${head}`;
}

/**
 * The edges of a view at a size, strongest first: each with its strength there and what training did to it. In the
 * difference an edge of either circuit counts, with the larger of its sizes in those that hold it.
 */
export function edgesInView(circuit, view, size) {
  const inBase = circuitOf(circuit, "base", size);
  const inVariant = circuitOf(circuit, "variant", size);
  const members = { base: inBase, variant: inVariant, difference: new Set([...inBase, ...inVariant]) }[view];
  const shown = [...members].map((edge) => {
    const change = inBase.has(edge) ? (inVariant.has(edge) ? "kept" : "lost") : "born";
    const sizes = { base: Math.abs(edge.score.base), variant: Math.abs(edge.score.variant) };
    const strength = view === "difference" ? Math.max(change === "born" ? 0 : sizes.base, change === "lost" ? 0 : sizes.variant) : sizes[view];
    return { edge, change, strength };
  });
  return shown.sort((one, other) => other.strength - one.strength);
}

/** The edges of one model's circuit. Loose ends of those that the page holds whole are pruned, as where they were evaluated. */
export function circuitOf(circuit, model, size) {
  const chosen = new Set(circuit.edges.filter((edge) => edge.rank[model] < size));
  if (size <= circuit.most) while (dropLooseEnds(circuit, chosen));
  return chosen;
}

/** Take out the edges of nodes that nothing enters or that lead nowhere; returns whether there were any. */
function dropLooseEnds(circuit, chosen) {
  const entered = new Set([0]);
  const leaving = new Set([circuit.logits]);
  for (const { source, reader } of chosen) {
    leaving.add(source);
    for (const node of reader.nodes) entered.add(node);
  }
  const before = chosen.size;
  for (const edge of chosen) {
    const leadsOn = edge.reader.nodes.some((node) => leaving.has(node) && entered.has(node));
    if (!entered.has(edge.source) || !leadsOn) chosen.delete(edge);
  }
  return chosen.size < before;
}

/**
 * The strongest paths from a node to the logits: at most count, each over another first edge. A path is as strong as its
 * weakest edge. shown: of edgesInView. Returns { edges, weakest } for each path, strongest first.
 */
export function strongestPaths(circuit, shown, from, count = 3) {
  const outgoing = new Map();
  for (const item of shown) outgoing.set(item.edge.source, [...(outgoing.get(item.edge.source) ?? []), item]);
  const best = new Map([[circuit.logits, { weakest: Infinity, item: null, next: null }]]);
  const bestOf = (nodes) => nodes.filter((node) => best.has(node)).sort((one, other) => best.get(other).weakest - best.get(one).weakest)[0];
  const steps = (node) =>
    (outgoing.get(node) ?? [])
      .map((item) => ({ item, next: bestOf(item.edge.reader.nodes) }))
      .filter(({ next }) => next !== undefined)
      .map(({ item, next }) => ({ item, next, weakest: Math.min(item.strength, best.get(next).weakest) }))
      .sort((one, other) => other.weakest - one.weakest);
  // Edges lead from lower to higher numbers, so a node comes after all that it leads to.
  for (let node = circuit.logits - 1; node > from; node--) {
    const [first] = steps(node);
    if (first) best.set(node, first);
  }
  return steps(from)
    .slice(0, count)
    .map((first) => {
      const edges = [];
      const nodes = [from];
      for (let step = first; step.item; step = best.get(step.next)) {
        edges.push(step.item.edge);
        nodes.push(step.next);
      }
      return { edges, nodes, weakest: first.weakest };
    });
}
