// Charts: drawn when first seen; the style sheet colours text and grid, so dark mode and print need no redrawing.

import { choose, parseHead } from "./state.js";

const CONFIG = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d", "autoScale2d"],
};

const OUTLINE = "#D55E00";

/** Draw the charts below root that are not drawn yet. */
export function drawCharts(root) {
  for (const plot of root.querySelectorAll(".plot:empty")) {
    const { data, layout } = JSON.parse(plot.parentElement.querySelector(".plot-data").textContent);
    plot.style.height = `${layout.height}px`; // resizing takes the element's height
    window.Plotly.newPlot(plot, data, layout, CONFIG);
    if (layout.meta?.heads) plot.on("plotly_click", ({ points }) => chooseAt(plot, points[0]));
  }
}

/** Fit drawn charts below root to the width they have now. */
export function fitCharts(root) {
  for (const plot of root.querySelectorAll(".plot.js-plotly-plot")) window.Plotly.Plots.resize(plot);
}

/** Choose the head of a point. A grid has heads across and layers up; other charts have a row per head, by its name. */
function chooseAt(plot, { x, y }) {
  const head = plot.layout.meta.heads === "grid" ? `L${y}H${x}` : rowNames(plot)[typeof y === "number" ? Math.round(y) : rowNames(plot).indexOf(y)];
  if (head) choose({ head });
}

function rowNames(plot) {
  return plot.layout.yaxis.ticktext ?? plot.data[0].y;
}

/** Draw an outline around the head in the charts below root that have heads; remove it for "". */
export function outlineHead(root, head) {
  for (const plot of root.querySelectorAll(".plot.js-plotly-plot")) {
    const kind = plot.layout.meta?.heads;
    if (kind && (plot.dataset.head ?? "") !== head) {
      plot.dataset.head = head;
      window.Plotly.relayout(plot, { shapes: head ? outlines(plot, kind, head) : [] });
    }
  }
}

function outlines(plot, kind, head) {
  const place = kind === "grid" ? parseHead(head) : { layer: rowNames(plot).indexOf(head) };
  const across = kind === "grid" ? { x0: place.head - 0.5, x1: place.head + 0.5 } : { xref: "paper", x0: 0, x1: 1 };
  const line = { color: OUTLINE, width: 3 };
  return place.layer < 0 ? [] : [{ type: "rect", ...across, y0: place.layer - 0.5, y1: place.layer + 0.5, line }];
}

/** Make the PNG and SVG buttons save their panel. */
export function enableImages(root) {
  for (const button of root.querySelectorAll("[data-image]")) button.addEventListener("click", () => saveImage(button));
}

function saveImage(button) {
  const figure = button.closest("figure");
  const panel = button.closest(".panel");
  const place = [...figure.querySelectorAll(".panel")].indexOf(panel) + 1;
  const plot = panel.querySelector(".plot");
  const size = { width: plot.clientWidth, height: plot.clientHeight };
  const format = button.dataset.image;
  window.Plotly.downloadImage(plot, { ...size, format, scale: format === "png" ? 3 : 1, filename: `${figure.dataset.name}-${place}` });
}
