// All heads as a grid of buttons, layers upwards, each with its state; one tab stop, arrow keys move.

import { choose } from "./state.js";
import { element } from "./elements.js";

const GRID_MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };

/** Set up the grid; returns show(variant, head). */
export function setUpHeadGrid(grid, legend, data) {
  grid.replaceChildren(headGridRows(data));
  const buttons = new Map([...grid.querySelectorAll("button")].map((button) => [button.value, button]));
  data.statuses.forEach((state, index) => {
    const item = element("li", "");
    item.append(element("span", state.glyph, `state state-${index}`), ` ${state.name}`);
    legend.append(item);
  });

  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose({ head: button.value });
  });
  grid.addEventListener("keydown", (event) => {
    const move = GRID_MOVES[event.key];
    const button = event.target.closest("button");
    if (!move || !button) return;
    const [layer, head] = button.value.slice(1).split("H").map(Number);
    const next = buttons.get(`L${layer + move[0]}H${head + move[1]}`);
    if (!next) return;
    event.preventDefault();
    setStop(next);
    next.focus();
  });

  let stop = buttons.get("L0H0");
  function setStop(button) {
    stop.tabIndex = -1;
    button.tabIndex = 0;
    stop = button;
  }

  return (variant, head) => {
    let place = 0;
    for (const [name, button] of buttons) {
      const status = Number(variant.states[(place + 1) * variant.steps.length - 1]);
      const { glyph, name: state } = data.statuses[status];
      button.className = `state state-${status}`;
      button.textContent = glyph;
      button.title = `${name}: ${state}`;
      button.setAttribute("aria-label", `${name} ${state}`);
      button.setAttribute("aria-pressed", String(name === head));
      place += 1;
    }
    setStop(buttons.get(head) ?? buttons.get("L0H0"));
  };
}

/** A table of buttons without text; in the document's order heads come layer by layer from the first. */
function headGridRows({ layers, heads }) {
  const made = element("div", "", heads > 16 ? "head-grid dense" : "head-grid");
  made.style.setProperty("--heads", heads);
  for (let layer = 0; layer < layers; layer++) {
    const row = element("div", "", "head-row");
    row.append(element("span", `L${layer}`, "axis"));
    for (let head = 0; head < heads; head++) {
      const button = element("button", "");
      button.type = "button";
      button.value = `L${layer}H${head}`;
      button.tabIndex = layer || head ? -1 : 0;
      row.append(button);
    }
    made.append(row);
  }
  const axis = element("div", "", "head-row");
  axis.setAttribute("aria-hidden", "true");
  axis.append(element("span", "", "axis"), ...Array.from({ length: heads }, (_, head) => element("span", String(head), "axis")));
  const whole = element("div", "");
  whole.append(made, axis);
  return whole;
}
