// Groups of answers, of which a page shows one: each has a name, and the variant whose answers it holds.

import { choose, viewState } from "./state.js";

/**
 * The group to show: the one that was chosen by its name, unless it is of another variant than the chosen one; else the
 * first of the chosen variant; else the first. The base's answers may be read whichever variant is chosen.
 */
export function chosenGroup(groups, name, variant) {
  const fits = (group) => !variant || group.variant === variant || group.variant === "base";
  const named = groups.find((group) => group.name === name && fits(group));
  return named ?? groups.find((group) => group.variant === variant) ?? groups[0];
}

/** Choose a group by its name, as what the state calls kind; its variant too, if another one is chosen. */
export function chooseGroup(kind, group, changes = {}) {
  const followed = viewState().variant && group.variant !== "base" ? { variant: group.variant } : {};
  choose({ [kind]: group.name, ...followed, ...changes });
}
