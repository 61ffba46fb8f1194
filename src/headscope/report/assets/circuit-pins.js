// Pinned heads: a list, and the block of a study file that removes them.

import { element } from "./elements.js";
import { headButton } from "./heads.js";

/** An entry of the list of pinned heads. */
export function pinItem(pin, onRemove) {
  const item = document.createElement("li");
  const remove = element("button", "×");
  remove.type = "button";
  remove.setAttribute("aria-label", `Unpin ${pin}`);
  remove.addEventListener("click", onRemove);
  item.append(headButton(pin), " ", remove);
  return item;
}

/** The block of a study file that removes these heads, next to matched random sets. */
export function ablationConfig(pins) {
  return `ablate:\n  heads: [named]\n  named: [${pins.join(", ")}]\n`;
}

/** Copy the text of an element; where the browser does not let a page do so, select it for the reader. */
export async function copyText(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
  }
}
