// View state in the URL hash, as in #page=circuit&variant=sft&head=L3H5&size=200: a finding is a link.
// The hash is untrusted: anything unknown is the default.

const LONGEST_HASH = 20_000;
const TEXTS = ["answers", "comparison", "problem"];
const CIRCUIT_VIEWS = ["difference", "base", "variant"];

/** The layer and the head of a name such as "L3H5"; null for any other text. */
export function parseHead(name) {
  const match = /^L(\d{1,4})H(\d{1,4})$/.exec(name ?? "");
  return match && { layer: Number(match[1]), head: Number(match[2]) };
}

/** Whether a text names a head of the study's models, whose layers and heads are in known. */
export function isHead(name, known) {
  const place = parseHead(name);
  return place !== null && place.layer < known.layers && place.head < known.heads && name === `L${place.layer}H${place.head}`;
}

/**
 * State from the hash, which may be a page's name alone. known: pages and variants by name, of which the first page is
 * the default, and how many layers and heads the models have.
 *
 * page: its name. variant, head: names, "" for none. size: edges of a circuit, 0 for the page's own choice. view: of the
 * circuit page. pins: heads, in the order they were pinned. answers, comparison, problem: names, "" for the page's own
 * choice, or any text: their pages look for it among the names they have, and choose themselves if it is none of them.
 */
export function readState(hash, known) {
  const text = hash.replace(/^#/, "").slice(0, LONGEST_HASH);
  const given = new URLSearchParams(text);
  const name = known.pages.includes(text) ? text : given.get("page");
  const oneOf = (key, names, otherwise) => (names.includes(given.get(key)) ? given.get(key) : otherwise);
  const state = {
    page: known.pages.includes(name) ? name : known.pages[0],
    variant: oneOf("variant", known.variants, ""),
    head: isHead(given.get("head"), known) ? given.get("head") : "",
    view: oneOf("view", CIRCUIT_VIEWS, CIRCUIT_VIEWS[0]),
    pins: [...new Set((given.get("pins") ?? "").split("."))].filter((pin) => isHead(pin, known)),
    size: /^\d{1,7}$/.test(given.get("size") ?? "") ? Number(given.get("size")) : 0,
  };
  for (const key of TEXTS) state[key] = given.get(key) ?? "";
  return state;
}

/** The hash of a state, without the defaults, which would only make it longer. */
export function writeState(state) {
  const parts = [`page=${encodeURIComponent(state.page)}`];
  for (const key of ["variant", "head", "size", ...TEXTS]) if (state[key]) parts.push(`${key}=${encodeURIComponent(state[key])}`);
  if (state.view !== CIRCUIT_VIEWS[0]) parts.push(`view=${state.view}`);
  if (state.pins.length) parts.push(`pins=${state.pins.join(".")}`);
  return `#${parts.join("&")}`;
}

const listeners = [];
let knownNames = { pages: [], variants: [], layers: 0, heads: 0 };
let shownState = null;

/** Call listener(state, before) whenever the state changes, and once when the page starts; before is null then. */
export function onChange(listener) {
  listeners.push(listener);
}

/** The state that is shown now. */
export function viewState() {
  return shownState;
}

/** What a state may name: pages, variants, layers and heads. */
export function knownViews() {
  return knownNames;
}

/** Say what a state may name; first of all, because the parts of the page are set up by it. */
export function setKnownViews(known) {
  knownNames = known;
}

/**
 * Change part of the state, as in choose({ head: "L3H5" }); the rest stays. isPassing: the reader is still looking for
 * the right value, as with a slider, so "back" leads to before all of it.
 */
export function choose(changes, isPassing = false) {
  const hash = writeState({ ...shownState, ...changes });
  if (hash === location.hash) return;
  if (isPassing) location.replace(hash);
  else location.hash = hash;
}

/** Read the hash, now and whenever it changes, and tell all who listen. */
export function startState() {
  window.addEventListener("hashchange", tellState);
  tellState();
}

function tellState() {
  const before = shownState;
  shownState = readState(location.hash, knownNames);
  for (const listener of listeners) listener(shownState, before);
}
