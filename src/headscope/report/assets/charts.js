// Charts: each is drawn when it first comes near the window, because a page may have dozens and each takes up to a tenth
// of a second. The style sheet colours text and grid, so dark mode and print need no redrawing.

import { choose, parseHead, viewState } from "./state.js";

const CONFIG = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d", "autoScale2d"],
};

const OUTLINE = "#D55E00";

const NEAR = 600; // pixels above and below the window

const approaching = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) drawChart(target);
  },
  { rootMargin: `${NEAR}px 0px` },
);

/** Draw the charts below root that are in the window, and the others when they come near it; all at once to print. */
export function drawCharts(root, isPrinting = false) {
  const plots = [...root.querySelectorAll(".plot:empty")];
  const isInWindow = (plot) => {
    const { top, bottom } = plot.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  };
  const due = isPrinting ? plots : plots.filter(isInWindow); // all are looked at before one is drawn and moves the others
  for (const plot of plots) if (!due.includes(plot)) approaching.observe(plot);
  due.forEach(drawChart);
}

function drawChart(plot) {
  approaching.unobserve(plot);
  if (plot.childElementCount) return;
  const { data, layout } = JSON.parse(plot.parentElement.querySelector(".plot-data").textContent);
  const head = viewState()?.head;
  if (head && layout.meta?.heads) {
    plot.dataset.head = head;
    layout.shapes = outlines(layout, data, head);
  }
  window.Plotly.newPlot(plot, data, layout, CONFIG);
  if (layout.meta?.heads) plot.on("plotly_click", ({ points }) => chooseAt(plot, points[0]));
  if (data.some((trace) => trace.meta?.variant)) plot.on("plotly_click", ({ points }) => chooseStep(plot, points[0]));
}

/** Fit drawn charts below root to the width they have now. */
export function fitCharts(root) {
  for (const plot of root.querySelectorAll(".plot.js-plotly-plot")) window.Plotly.Plots.resize(plot);
}

/** Let the drawn charts below root shrink with their column, as on paper, or have the size they were drawn in. */
export function shrinkCharts(root, isPrinting) {
  for (const plot of root.querySelectorAll(".plot.js-plotly-plot")) {
    const { width, height } = plot._fullLayout;
    plot.style.setProperty("--shape", `${width} / ${height}`);
    for (const svg of plot.querySelectorAll(".main-svg")) {
      if (isPrinting) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      else svg.removeAttribute("viewBox");
    }
  }
}

/** Choose the head of a point. A grid has heads across and layers up; other charts have a row per head, by its name. */
function chooseAt({ layout, data }, { x, y }) {
  const names = rowNames(layout, data);
  const head = layout.meta.heads === "grid" ? `L${y}H${x}` : names[typeof y === "number" ? Math.round(y) : names.indexOf(y)];
  if (head) choose({ head });
}

/** Tell the page that a training step of a variant was chosen, on a task if the chart is of one. */
function chooseStep(plot, { data, x }) {
  plot.dispatchEvent(new CustomEvent("step", { bubbles: true, detail: { ...data.meta, step: x } }));
}

function rowNames(layout, data) {
  return layout.yaxis.ticktext ?? data[0].y;
}

/** Draw an outline around the head in the drawn charts below root that have heads; remove it for "". */
export function outlineHead(root, head) {
  for (const plot of root.querySelectorAll(".plot.js-plotly-plot")) {
    if (plot.layout.meta?.heads && (plot.dataset.head ?? "") !== head) {
      plot.dataset.head = head;
      window.Plotly.relayout(plot, { shapes: head ? outlines(plot.layout, plot.data, head) : [] });
    }
  }
}

function outlines(layout, data, head) {
  const isGrid = layout.meta.heads === "grid";
  const place = isGrid ? parseHead(head) : { layer: rowNames(layout, data).indexOf(head) };
  const across = isGrid ? { x0: place.head - 0.5, x1: place.head + 0.5 } : { xref: "paper", x0: 0, x1: 1 };
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
