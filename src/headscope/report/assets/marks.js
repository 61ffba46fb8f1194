// Marked text: text nodes in nested spans, one for each mark on them. Places count Unicode code points, as Python does.

import { element } from "./elements.js";

/** A fragment with the text of a side, its marks underlined and its thought in a fold. */
export function markedText(side, kinds, opensThoughts) {
  const characters = Array.from(side.text);
  const fragment = document.createDocumentFragment();
  const fold = side.fold && foldElement(side, kinds, opensThoughts);
  const places = [0, characters.length, ...side.marks.flatMap(([start, end]) => [start, end]), ...(side.fold ?? []).slice(0, 2)];
  const ends = [...new Set(places)].sort((one, other) => one - other);
  let next = 0;
  let active = [];
  ends.slice(1).forEach((end, index) => {
    const start = ends[index];
    active = active.filter((mark) => mark[1] > start);
    while (next < side.marks.length && side.marks[next][0] <= start) active.push(side.marks[next++]);
    const node = inSpans(characters.slice(start, end).join(""), active, start, kinds);
    const isFolded = side.fold && start >= side.fold[0] && end <= side.fold[1];
    if (isFolded && !fold.parentNode) fragment.append(fold);
    (isFolded ? fold.lastChild : fragment).append(node);
  });
  return fragment;
}

function inSpans(text, marks, start, kinds) {
  return marks.toReversed().reduce((inner, [from, , kind, label]) => {
    const span = document.createElement("span");
    span.className = `mark mark-${kind}`;
    span.title = label;
    if (from === start) span.dataset.icon = kinds[kind].icon;
    span.append(inner);
    return span;
  }, document.createTextNode(text));
}

function foldElement(side, kinds, opensThoughts) {
  const [start, end, label, isShort] = side.fold;
  const inside = countMarks(side.marks.filter((mark) => mark[0] >= start && mark[0] < end), kinds);
  const details = document.createElement("details");
  details.className = "thought";
  details.open = opensThoughts ?? isShort;
  details.append(element("summary", inside ? `${label}: ${inside}` : label), document.createElement("div"));
  return details;
}

/** Marks in words, such as "✗ 2 · ↻ 1". */
function countMarks(marks, kinds) {
  const counts = new Map();
  for (const [, , kind] of marks) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${kinds[kind].icon} ${count}`).join(" · ");
}

/** Buttons that go to the next mark of each kind in a text. */
export function markButtons(side, pane, kinds) {
  const line = element("p", "", "tools");
  for (const kind of Object.keys(kinds)) {
    const labels = side.marks.filter((mark) => mark[2] === kind).map((mark) => mark[3]);
    if (!labels.length) continue;
    const name = labels.every((label) => label === labels[0]) ? labels[0] : kinds[kind].name;
    const button = element("button", `${kinds[kind].icon} ${labels.length} ${name}`);
    button.type = "button";
    let turn = 0;
    button.addEventListener("click", () => {
      const starts = pane.querySelectorAll(`.mark-${kind}[data-icon]`);
      goTo(starts[turn++ % starts.length], pane);
    });
    line.append(button);
  }
  return line;
}

function goTo(mark, pane) {
  const thought = mark.closest("details");
  if (thought) thought.open = true;
  pane.scrollTop += mark.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientHeight / 3;
}
