// The page: one section shown at a time, chosen by the URL hash.

import { onChange, setKnownViews, startState, viewState, writeState } from "./state.js";
import { drawCharts, enableImages, fitCharts, outlineHead, shrinkCharts } from "./charts.js";
import { enableCsv, unfoldTables } from "./tables.js";
import { enableHeads, linkHeads, markHead } from "./heads.js";
import { setUpAnswers } from "./answers.js";
import { setUpCircuit } from "./circuit.js";
import { setUpContext } from "./context.js";
import { setUpHead } from "./head.js";
import { setUpPairs } from "./pairs.js";

const sections = [...document.querySelectorAll("section.page")];
const links = [...document.querySelectorAll("nav a")];
const known = JSON.parse(document.querySelector("#known-views").textContent);
setKnownViews({ ...known, pages: sections.map((section) => section.dataset.page) });

const answersBlock = document.querySelector(".responses");
const showAnswers = answersBlock ? setUpAnswers(answersBlock) : () => {};
const pairsBlock = document.querySelector(".pairs");
const showPairs = pairsBlock ? setUpPairs(pairsBlock) : () => {};
const circuitBlock = document.querySelector(".circuit");
const showCircuit = circuitBlock ? setUpCircuit(circuitBlock) : () => {};

function show(state, before) {
  for (const section of sections) section.hidden = section.dataset.page !== state.page;
  for (const link of links) {
    link.href = writeState({ ...state, page: link.dataset.page });
    if (link.dataset.page === state.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const section = sections.find((each) => each.dataset.page === state.page);
  prepare(section, state);
  if (before && before.page !== state.page) {
    window.scrollTo(0, 0);
    section.querySelector("h2").focus({ preventScroll: true });
  }
}

/** Draw what a section needs when it is seen, and mark the chosen head in it. */
function prepare(section, state, isPrinting = false) {
  drawCharts(section, isPrinting);
  fitCharts(section);
  if (section.contains(circuitBlock)) showCircuit(state, isPrinting);
  if (section.contains(answersBlock)) showAnswers(state);
  if (section.contains(pairsBlock)) showPairs(state);
  outlineHead(section, state.head);
  linkHeads(section);
  markHead(section, state);
}

function showAll() {
  for (const section of sections) section.hidden = false;
  for (const section of sections) prepare(section, viewState(), true);
  shrinkCharts(document, true);
}

enableImages(document);
enableCsv(document);
unfoldTables(document, (details) => {
  linkHeads(details);
  markHead(details, viewState());
});
enableHeads(document);
onChange(show); // before all others, which then find their section visible
setUpContext(document.querySelector(".context"));
for (const block of document.querySelectorAll(".head-details")) setUpHead(block);
window.addEventListener("beforeprint", showAll);
window.addEventListener("afterprint", () => {
  shrinkCharts(document, false);
  show(viewState(), viewState());
});
startState();
document.documentElement.classList.add("ready");
