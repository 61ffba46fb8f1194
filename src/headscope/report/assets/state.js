// View state in the URL hash, as in #page=evolution&answers=2. The hash is untrusted: anything unknown is the default.

/** State from the hash, which may be a page's name alone; pages: allowed names, the first is the default. */
export function readState(hash, pages) {
  const text = hash.replace(/^#/, "").slice(0, 200);
  const given = new URLSearchParams(text);
  const name = pages.includes(text) ? text : given.get("page");
  const number = (key) => (/^\d{1,4}$/.test(given.get(key) ?? "") ? Number(given.get(key)) : 0);
  return { page: pages.includes(name) ? name : pages[0], answers: number("answers"), comparison: number("comparison"), problem: number("problem") };
}

/** The hash of a state, without defaults that would only make it longer. */
export function writeState({ page, ...numbers }) {
  const parts = Object.entries(numbers).filter(([, value]) => value).map(([key, value]) => `&${key}=${value}`);
  return `#page=${encodeURIComponent(page)}${parts.join("")}`;
}
