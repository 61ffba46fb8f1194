// The context bar: which variant and head are chosen on every page, and the circuit's size on pages that have one.

import { choose, knownViews, onChange } from "./state.js";

/** Set up the bar below the navigation. */
export function setUpContext(bar) {
  const { variants, layers, heads } = knownViews();
  const part = (name) => bar.querySelector(`[data-${name}]`);
  const variant = part("variant");
  const head = part("head");
  variant.replaceChildren(new Option("all variants", ""), ...variants.map((name) => new Option(name, name)));
  head.replaceChildren(new Option("no head", ""), ...Array.from({ length: layers }, (_, layer) => layerGroup(layer, heads)));
  variant.addEventListener("change", () => choose({ variant: variant.value, comparison: "", answers: "" }));
  head.addEventListener("change", () => choose({ head: head.value }));
  part("clear").addEventListener("click", () => choose({ variant: "", head: "", size: 0, pins: [] }));
  onChange((state) => {
    variant.value = state.variant;
    head.value = state.head;
    part("size").textContent = state.size ? `size ${state.size.toLocaleString("en")} edges` : "";
    part("size").hidden = !state.size || state.page !== "circuit";
    part("clear").disabled = !state.variant && !state.head && !state.size && !state.pins.length;
  });
}

function layerGroup(layer, heads) {
  const group = document.createElement("optgroup");
  group.label = `layer ${layer}`;
  for (let head = 0; head < heads; head++) group.append(new Option(`L${layer}H${head}`, `L${layer}H${head}`));
  return group;
}
