// Model answers: text nodes only, never markup. The long text enters the page when its entry is opened.

import { element } from "./elements.js";

/** Fill the chooser of a responses block; onChoose(index) is told what the reader picks. Returns show(index). */
export function setUpAnswers(block, onChoose) {
  const groups = JSON.parse(block.querySelector(".response-data").textContent);
  const select = block.querySelector("[data-groups]");
  const list = block.querySelector("[data-answers]");
  select.replaceChildren(...groups.map((group, index) => new Option(`${group.name} (n ${group.size})`, String(index))));
  select.addEventListener("change", () => onChoose(Number(select.value)));
  return (index) => {
    const chosen = groups[index] ? index : 0;
    select.value = String(chosen);
    list.replaceChildren(...groups[chosen].items.map(entry));
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
