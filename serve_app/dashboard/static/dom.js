// Changes the page without redrawing what stayed the same, so that nothing flickers and focus and scroll are kept.

const SVG = "http://www.w3.org/2000/svg";

/** The element of this id. */
export const byId = (id) => document.getElementById(id);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element; texts among the children are text, never markup. */
export function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/** Set a node's text where it differs. */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Set an attribute where it differs; null takes it away. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Replace a node's content when `content` has changed since the last time; `make` returns the new children. */
export function redraw(node, content, make) {
  const print = JSON.stringify(content);
  if (node.drawn === print) return;
  node.drawn = print;
  node.replaceChildren(...[make()].flat());
}

/** Show `items` as children of `parent`, each known by `keyOf(item)`: children stay, move, come and go with their items.
 *
 * `make(item)` gives a new child, `update(child, item)` brings one up to date. Other children of `parent` stay in front.
 */
export function keyed(parent, items, keyOf, make, update) {
  parent.keyedChildren ??= new Map();
  const before = parent.keyedChildren;
  const now = new Map();
  for (const item of items) {
    const key = keyOf(item);
    const child = before.get(key) ?? make(item);
    update(child, item);
    now.set(key, child);
  }
  for (const [key, child] of before) if (!now.has(key)) child.remove();
  let next = null;
  for (const child of [...now.values()].reverse()) {
    if (child.parentNode !== parent || child.nextSibling !== next) parent.insertBefore(child, next);
    next = child;
  }
  parent.keyedChildren = now;
}
