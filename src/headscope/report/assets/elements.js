// Elements that hold text and never markup.

/** An element with one text node. */
export function element(tag, text, name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}
