// Tables that are brought up to date row by row, cell by cell; and bars and sparklines to stand in them.

import { el, keyed, mark, say, svg } from "./dom.js";

/**
 * A table: { element, update(rows) }.
 *
 * columns: { label, value(row) → text, numeric, heading: whether it names the row, href(row) → address or null,
 * node(row) → element made once a row, refresh(element, row) for each update of it }.
 */
export function table(caption, columns, keyOf, { captionShown = false } = {}) {
  const body = el("tbody");
  const heads = columns.map((column) => el("th", { scope: "col", class: column.numeric ? "number" : null }, column.label));
  const element = el(
    "table",
    {},
    el("caption", { class: captionShown ? null : "unseen" }, caption),
    el("thead", {}, el("tr", {}, ...heads)),
    body,
  );
  const make = (row) => el("tr", {}, ...columns.map((column) => cell(column, row)));
  const update = (line, row) => columns.forEach((column, at) => refresh(column, line.children[at], row));
  return { element, update: (rows) => keyed(body, rows, keyOf, make, update) };
}

function cell(column, row) {
  const kind = column.numeric ? "number" : null;
  const inner = column.node ? column.node(row) : column.href ? el("a", {}) : null;
  return column.heading ? el("th", { scope: "row", class: kind }, inner) : el("td", { class: kind }, inner);
}

function refresh(column, made, row) {
  if (column.node) {
    column.refresh?.(made.firstElementChild, row);
    return;
  }
  const place = made.firstElementChild ?? made;
  if (column.href) mark(place, "href", column.href(row));
  say(place, column.value(row));
}

/** A bar in a column of bars; set its share with `fill`. Beside it stands its number, so it says nothing itself. */
export function bar() {
  return el("div", { class: "bar", "aria-hidden": "true" }, el("div"));
}

/** Brings a bar to a share from 0 to 1, and its mark, if any, to another. */
export function fill(made, share, expected = null) {
  made.style.setProperty("--share", `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`);
  made.classList.toggle("marked", expected !== null);
  if (expected !== null) made.style.setProperty("--mark", `${(100 * Math.min(1, Math.max(0, expected))).toFixed(1)}%`);
}

const WIDTH = 96;
const HEIGHT = 24;

/** A sparkline, empty. */
export function spark() {
  const line = svg("polyline", { fill: "none", points: "" });
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "not known yet" }, line);
}

/** Draws it through these values; `label` says in words what they are. */
export function drawSpark(made, values, label) {
  const greatest = Math.max(1, ...values);
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  const points = values.map((value, at) => `${(at * step).toFixed(1)},${(HEIGHT - 2 - (value / greatest) * (HEIGHT - 4)).toFixed(1)}`);
  mark(made.firstElementChild, "points", points.join(" "));
  mark(made, "aria-label", label);
}
