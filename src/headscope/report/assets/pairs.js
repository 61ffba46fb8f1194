// Pairs of answers: the problems that changed, and two answers to each side by side. Text nodes only, never markup.

import { element } from "./elements.js";
import { markButtons, markedText } from "./marks.js";

const COLUMNS = ["problem", "tier", "change", "before", "after", "q", "failure"];

/** Set up a block of pairs; onChoose(comparison, problem) is told what the reader picks. Returns show(state). */
export function setUpPairs(block, onChoose) {
  const { groups, kinds } = JSON.parse(block.querySelector(".pair-data").textContent);
  const part = (name) => block.querySelector(`[data-${name}]`);
  const view = { comparison: -1, problem: -1, thoughts: undefined };

  const group = () => groups[view.comparison];
  const listed = () => group().flips.map((flip, index) => ({ flip, index })).filter(({ flip }) => passes(flip));
  const readable = () => listed().filter(({ flip }) => flip.sides).map(({ index }) => index);

  function passes(flip) {
    const change = part("change").value;
    const failure = part("failure").value;
    return (!change || (change === "gained") === flip.gained) && (!failure || flip.failure === failure);
  }

  function move(steps) {
    const problems = readable();
    const place = problems.indexOf(view.problem);
    const next = problems[place < 0 ? 0 : place + steps];
    if (next !== undefined) onChoose(view.comparison, next);
  }

  function fillList() {
    const rows = listed().map(({ flip, index }) => listRow(flip, index, () => onChoose(view.comparison, index)));
    part("flips").replaceChildren(...(rows.length ? rows : [emptyRow()]));
  }

  function markCurrent() {
    for (const row of part("flips").rows) {
      const isCurrent = row.dataset.index === String(view.problem);
      if (isCurrent) bringIntoList(row);
      row.toggleAttribute("aria-current", isCurrent);
    }
  }

  function fillFailures() {
    const names = [...new Set(group().flips.map((flip) => flip.failure).filter(Boolean))].sort();
    part("failure").replaceChildren(new Option("any", ""), ...names.map((name) => new Option(name, name)));
  }

  function fillPair() {
    const flip = group().flips[view.problem];
    part("pair").hidden = !flip?.sides;
    if (!flip?.sides) return;
    const problems = readable();
    part("heading").replaceChildren(element("bdi", flip.problem), ` · ${flip.change} · ${problems.indexOf(view.problem) + 1} of ${problems.length}`);
    part("facts").replaceChildren(...facts(flip, group().greedy));
    part("previous").disabled = problems.indexOf(view.problem) <= 0;
    part("next").disabled = problems.indexOf(view.problem) >= problems.length - 1;
    const sides = flip.sides.map((side) => sideElement(side, kinds, view.thoughts));
    part("sides").replaceChildren(...sides);
    scrollTogether(sides.map((side) => side.querySelector(".response")), part("together"));
  }

  function refilter() {
    const problems = readable();
    fillList();
    if (problems.length && !problems.includes(view.problem)) onChoose(view.comparison, problems[0]);
    markCurrent();
    fillPair();
  }

  function openThoughts(isOpen) {
    view.thoughts = isOpen;
    part("thoughts").checked = isOpen;
    for (const thought of block.querySelectorAll(".thought")) thought.open = isOpen;
  }

  part("comparison").replaceChildren(...groups.map((each, index) => new Option(`${each.name} (${each.flips.length})`, String(index))));
  part("comparison").addEventListener("change", () => onChoose(Number(part("comparison").value), 0));
  part("change").addEventListener("change", refilter);
  part("failure").addEventListener("change", refilter);
  part("previous").addEventListener("click", () => move(-1));
  part("next").addEventListener("click", () => move(1));
  part("thoughts").addEventListener("change", (event) => openThoughts(event.target.checked));
  const keys = { n: () => move(1), p: () => move(-1), t: () => openThoughts(!part("thoughts").checked) };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("select, textarea, input:not([type=checkbox])");
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping || !block.checkVisibility()) return;
    if (Object.hasOwn(keys, event.key)) keys[event.key]();
  });

  return ({ comparison, problem }) => {
    const chosen = groups[comparison] ? comparison : 0;
    if (chosen !== view.comparison) {
      view.comparison = chosen;
      part("comparison").value = String(chosen);
      part("change").value = "";
      fillFailures();
      fillList();
    }
    const first = group().flips.findIndex((flip) => flip.sides);
    view.problem = group().flips[problem]?.sides ? problem : first;
    markCurrent();
    fillPair();
  };
}

/** Scroll the list, and nothing else, until a row is seen below its heading. */
function bringIntoList(row) {
  const frame = row.closest(".scroll");
  const [inside, outside] = [row.getBoundingClientRect(), frame.getBoundingClientRect()];
  const above = outside.top + row.offsetHeight - inside.top;
  if (above > 0) frame.scrollTop -= above;
  else frame.scrollTop += Math.max(0, inside.bottom - outside.bottom);
}

function listRow(flip, index, onPick) {
  const row = document.createElement("tr");
  if (!flip.sides) row.className = "absent";
  row.dataset.index = String(index);
  for (const column of COLUMNS) {
    const cell = element("td", "");
    const text = element("bdi", flip[column]);
    if (column === "problem" && flip.sides) {
      const button = document.createElement("button");
      button.type = "button";
      button.addEventListener("click", onPick);
      button.append(text);
      cell.append(button);
    } else cell.append(text, column === "problem" ? " (not here)" : "");
    row.append(cell);
  }
  return row;
}

function emptyRow() {
  const row = document.createElement("tr");
  row.append(element("td", "none"));
  return row;
}

function facts(flip, isGreedy) {
  const parts = [`right before ${flip.before}, after ${flip.after}, q ${flip.q} · accepted: `, element("bdi", flip.sides[0].gold || "nothing")];
  if (typeof flip.token === "number") parts.push(` · the first answers differ from token ${flip.token + 1} on${isGreedy ? ", the pivotal token" : ""}`);
  return parts;
}

function sideElement(side, kinds, opensThoughts) {
  const article = document.createElement("article");
  const ending = side.failure ? `${side.verdict} (${side.failure})` : side.verdict;
  const cut = side.finish === "length" ? ", cut at the limit" : "";
  const heading = element("h5", "");
  heading.append(element("bdi", side.model), ` · sample ${side.sample} · ${ending} · ${side.tokens} tokens${cut} · read: `, element("bdi", side.answer || "nothing"));
  const pane = element("div", "", "response");
  pane.tabIndex = 0;
  pane.dir = "auto";
  pane.setAttribute("role", "region");
  pane.setAttribute("aria-label", `answer of ${side.model}`);
  pane.append(markedText(side, kinds, opensThoughts));
  article.append(heading, markButtons(side, pane, kinds), pane);
  return article;
}

/** Scroll two panes in proportion to their lengths, as long as the box is ticked. */
function scrollTogether(panes, box) {
  let follower = null;
  panes.forEach((pane, index) => {
    pane.addEventListener("scroll", () => {
      if (pane === follower) {
        follower = null;
        return;
      }
      if (!box.checked) return;
      const other = panes[1 - index];
      const share = pane.scrollTop / Math.max(1, pane.scrollHeight - pane.clientHeight);
      const target = Math.round(share * (other.scrollHeight - other.clientHeight));
      if (Math.abs(other.scrollTop - target) < 1) return;
      follower = other;
      other.scrollTop = target;
    });
  });
}
