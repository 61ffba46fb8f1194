// The page: one section shown at a time, chosen by the URL hash.

import { readState, writeState } from "./state.js";
import { drawCharts, enableImages, fitCharts } from "./charts.js";
import { enableCsv } from "./tables.js";
import { setUpAnswers } from "./answers.js";
import { setUpPairs } from "./pairs.js";

const sections = [...document.querySelectorAll("section.page")];
const links = [...document.querySelectorAll("nav a")];
const names = sections.map((section) => section.dataset.page);
const answersBlock = document.querySelector(".responses");
const showAnswers = answersBlock ? setUpAnswers(answersBlock, chooseAnswers) : () => {};
const pairsBlock = document.querySelector(".pairs");
const showPairs = pairsBlock ? setUpPairs(pairsBlock, choosePair) : () => {};
let current = "";

function chooseAnswers(index) {
  location.hash = writeState({ page: current, answers: index });
}

function choosePair(comparison, problem) {
  location.hash = writeState({ page: current, comparison, problem });
}

function show() {
  const state = readState(location.hash, names);
  const moved = state.page !== current && current !== "";
  current = state.page;
  for (const section of sections) section.hidden = section.dataset.page !== current;
  for (const link of links) {
    if (link.dataset.page === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const section = sections.find((each) => each.dataset.page === current);
  drawCharts(section);
  fitCharts(section);
  showAnswers(state.answers);
  if (pairsBlock && section.contains(pairsBlock)) showPairs(state);
  if (moved) {
    window.scrollTo(0, 0);
    section.querySelector("h2").focus({ preventScroll: true });
  }
}

function showAll() {
  for (const section of sections) section.hidden = false;
  for (const section of sections) drawCharts(section);
  for (const section of sections) fitCharts(section);
}

enableImages(document);
enableCsv(document);
window.addEventListener("hashchange", show);
window.addEventListener("beforeprint", showAll);
window.addEventListener("afterprint", show);
show();
document.documentElement.classList.add("ready");
