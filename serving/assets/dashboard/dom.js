// Elements, made and brought up to date in place. What stays keeps its element, so that focus and selection stay with it.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: el("p", { class: "note", onclick: heard }, "text", child). Attributes that are false or null are left out, as are such
 * children. No `style`: the page's policy refuses it; set custom properties with `.style.setProperty`.
 */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of SVG's namespace. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Sets an element's text unless it is that already. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute unless it is that already; null takes it away. */
export function mark(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes `parent` hold one child for each item, in their order: made once for a key, then brought up to date.
 * make(item) → element; update(element, item, index).
 */
export function keyed(parent, items, keyOf, make, update) {
  const focused = document.activeElement;
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    let child = before.get(key);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = key;
    }
    before.delete(key);
    update(child, item, index);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const gone of before.values()) gone.remove();
  // what was moved has lost the focus
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

let numbered = 0;

/** An id that nothing else on the page has. */
export function newId(stem) {
  numbered += 1;
  return `${stem}-${numbered}`;
}
