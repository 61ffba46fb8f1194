// Pairs of answers: the problems that changed, and two answers to each side by side. Text nodes only, never markup.

import { element } from "./elements.js";
import { chooseGroup, chosenGroup } from "./groups.js";
import { markButtons, markedText } from "./marks.js";

const COLUMNS = ["problem", "tier", "change", "before", "after", "q", "failure"];

/** Set up a block of pairs. Returns show(state). */
export function setUpPairs(block) {
  const { groups, kinds } = JSON.parse(block.querySelector(".pair-data").textContent);
  const part = (name) => block.querySelector(`[data-${name}]`);
  const view = { group: null, flip: null, thoughts: undefined };

  const listed = () => view.group.flips.filter(passes);
  const readable = () => listed().filter((flip) => flip.sides);
  const pick = (flip) => chooseGroup("comparison", view.group, { problem: flip.problem });

  function passes(flip) {
    const change = part("change").value;
    const failure = part("failure").value;
    return (!change || (change === "gained") === flip.gained) && (!failure || flip.failure === failure);
  }

  function move(steps) {
    const flips = readable();
    const place = flips.indexOf(view.flip);
    const next = flips[place < 0 ? 0 : place + steps];
    if (next) pick(next);
  }

  function fillList() {
    const rows = listed().map((flip) => listRow(flip, () => pick(flip)));
    part("flips").replaceChildren(...(rows.length ? rows : [emptyRow()]));
  }

  function markCurrent() {
    for (const row of part("flips").rows) {
      const isCurrent = row.dataset.problem === view.flip?.problem;
      if (isCurrent) bringIntoList(row);
      row.toggleAttribute("aria-current", isCurrent);
    }
  }

  function fillFailures() {
    const names = [...new Set(view.group.flips.map((flip) => flip.failure).filter(Boolean))].sort();
    part("failure").replaceChildren(new Option("any", ""), ...names.map((name) => new Option(name, name)));
  }

  function fillPair() {
    const { flip, group } = view;
    part("pair").hidden = !flip;
    if (!flip) return;
    const flips = readable();
    const place = flips.indexOf(flip);
    part("heading").replaceChildren(element("bdi", flip.problem), ` · ${flip.change} · ${place + 1} of ${flips.length}`);
    part("facts").replaceChildren(...facts(flip, group.greedy));
    part("previous").disabled = place <= 0;
    part("next").disabled = place >= flips.length - 1;
    const sides = flip.sides.map((side) => sideElement(side, kinds, view.thoughts));
    part("sides").replaceChildren(...sides);
    scrollTogether(sides.map((side) => side.querySelector(".response")), part("together"));
  }

  function refilter() {
    const flips = readable();
    fillList();
    if (flips.length && !flips.includes(view.flip)) pick(flips[0]);
    markCurrent();
    fillPair();
  }

  function openThoughts(isOpen) {
    view.thoughts = isOpen;
    part("thoughts").checked = isOpen;
    for (const thought of block.querySelectorAll(".thought")) thought.open = isOpen;
  }

  /** Go to the comparison of a variant, on a task if one is given, whose step is nearest to a chosen one. */
  function openStep({ variant, task, step }) {
    const compared = groups.filter((group) => group.variant === variant && (!task || group.task === task));
    const distances = compared.map((group) => Math.abs(group.step - step));
    const nearest = compared[distances.indexOf(Math.min(...distances))];
    if (nearest) chooseGroup("comparison", nearest, { page: block.closest("section").dataset.page, problem: "" });
  }

  document.addEventListener("step", (event) => openStep(event.detail));
  part("comparison").replaceChildren(...groups.map((group) => new Option(`${group.name} (${group.flips.length})`, group.name)));
  part("comparison").addEventListener("change", () => chooseGroup("comparison", groups[part("comparison").selectedIndex], { problem: "" }));
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

  return ({ comparison, problem, variant }) => {
    const group = chosenGroup(groups, comparison, variant);
    part("comparison").selectedIndex = groups.indexOf(group);
    part("absent").hidden = !variant || group.variant === variant;
    if (group !== view.group) {
      view.group = group;
      part("change").value = "";
      fillFailures();
      fillList();
    }
    const flips = group.flips.filter((flip) => flip.sides);
    view.flip = flips.find((flip) => flip.problem === problem) ?? flips[0];
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

function listRow(flip, onPick) {
  const row = document.createElement("tr");
  if (!flip.sides) row.className = "absent";
  row.dataset.problem = flip.problem;
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
