// The report of a run: what it was, a verdict, charts over time, tables. All of it stands in the page, which loads nothing.
//
// { title, lead, verdict: { good, text } or null, facts: [[name, value]], charts: [{ label, lead, unit, x: ms[], series: [{ label, values }] }],
//   tables: [{ caption, columns: [{ label, numeric }], rows: [[value]] }], notes: [text] }

import { Chart } from "./chart.js";
import { el } from "./dom.js";
import { measured } from "./format.js";
import { scrolled } from "./panel.js";
import { table } from "./table.js";

const report = JSON.parse(document.getElementById("report").textContent);
const main = document.getElementById("content");

main.append(
  el("h1", {}, report.title),
  el("p", { class: "lead" }, report.lead),
  report.verdict && el("p", { class: "verdict", "data-state": report.verdict.good ? "good" : "bad" }, `${report.verdict.good ? "✓" : "✗"} ${report.verdict.text}`),
  el("div", { class: "grid" }, section("The run", null, true, facts()), ...report.tables.map(tabled), ...report.charts.map(charted), ...noted()),
);

function section(heading, lead, wide, ...children) {
  return el("section", { class: wide ? "panel wide" : "panel half", "aria-label": heading }, el("h2", {}, heading), lead && el("p", { class: "lead" }, lead), ...children);
}

function facts() {
  return el("dl", { class: "facts" }, ...report.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, measured(value)))));
}

function tabled({ caption, columns, rows }) {
  const heads = columns.map((column, at) => ({ ...column, heading: at === 0, value: (row) => measured(row[at]) }));
  const made = table(caption, heads, (row) => row[0]);
  made.update(rows);
  return section(caption, null, true, scrolled(caption, made.element));
}

function charted({ label, lead, unit, x, series }) {
  const chart = new Chart({ label, unit, seconds: true, height: 220 });
  queueMicrotask(() => chart.update({ x: x.map((ms) => ms / 1000), series }));
  return section(label, lead, false, chart.element);
}

function noted() {
  return report.notes.length ? [section("Notes", null, true, el("ul", {}, ...report.notes.map((note) => el("li", {}, note))))] : [];
}
