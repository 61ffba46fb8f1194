// Model answers: text nodes only, never markup. The long text enters the page when its entry is opened.

import { element } from "./elements.js";
import { chooseGroup, chosenGroup } from "./groups.js";

/** Fill the chooser of a responses block. Returns show(state). */
export function setUpAnswers(block) {
  const groups = JSON.parse(block.querySelector(".response-data").textContent);
  const select = block.querySelector("[data-groups]");
  const list = block.querySelector("[data-answers]");
  let shown = null;
  select.replaceChildren(...groups.map((group) => new Option(`${group.name} (n ${group.size})`, group.name)));
  select.addEventListener("change", () => chooseGroup("answers", groups[select.selectedIndex]));
  return ({ answers, variant }) => {
    const group = chosenGroup(groups, answers, variant);
    select.selectedIndex = groups.indexOf(group);
    if (group === shown) return; // so that answers stay open
    shown = group;
    list.replaceChildren(...group.items.map(entry));
  };
}

function entry(item) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(
    element("bdi", `problem ${item.problem}, sample ${item.sample}`, "problem"),
    ` · ${item.verdict} · ${item.tokens} tokens` + (item.finish === "length" ? ", cut at the limit" : ""),
  );
  details.append(summary);
  details.addEventListener("toggle", () => fill(details, item), { once: true });
  return details;
}

function fill(details, item) {
  const facts = element("p", "read: ", "facts");
  facts.append(element("bdi", item.answer || "nothing"), " · accepted: ", element("bdi", item.gold || "nothing"));
  const text = element("pre", item.response, "response");
  text.tabIndex = 0;
  text.dir = "auto";
  details.append(facts, text);
}
