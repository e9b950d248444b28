// A chart of lines or bars over time, drawn by uPlot; with what it shows in a sentence, and in a table for who asks for it.

import { el, keyed, mark, say, svg } from "./dom.js";
import { axis, clock, measured, steps, tick, words } from "./format.js";
import { scrolled } from "./panel.js";
import { greatest } from "./series.js";
import { table } from "./table.js";

const COLOURS = 8; // --series-1 … in style.css, told apart by the colour-blind; from the fifth on by dashes too
const DASHES = [[], [], [], [], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4]];
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];
const FONT = "12px system-ui, sans-serif";

/** A chart: put `element` on the page, then bring it up to date with `update`. */
export class Chart {
  /** unit: of all its values. bars: for what is counted in a window, lines else. headed: its label stands over it. */
  constructor({ label, unit = "", bars = false, height = 200, seconds = false, headed = false }) {
    Object.assign(this, { label, unit, bars, height, seconds });
    this.plotted = el("div", { class: "plot", role: "img" });
    this.legend = el("ul", { class: "legend", "aria-hidden": "true" });
    this.readout = el("p", { class: "readout" });
    this.held = el("div", {});
    this.rows = el("details", { class: "rows" }, el("summary", {}, `Table: ${label.toLowerCase()}`), this.held);
    const caption = headed ? el("figcaption", {}, label) : null;
    this.element = el("figure", { class: "chart" }, caption, this.plotted, this.legend, this.readout, this.rows);
    this.data = null;
    this.plot = null;
    this.shape = "";
    this.rows.addEventListener("toggle", () => this.tabulate());
    new ResizeObserver(() => this.resize()).observe(this.plotted);
    addEventListener("theme", () => this.rebuild());
  }

  /** data: { x: seconds[], series: [{ label, values }] } */
  update(data) {
    this.data = data;
    const shape = JSON.stringify([data.series.map((one) => [one.label, alone(one.values)]), data.x.length < 2]);
    if (this.plot === null || shape !== this.shape) {
      this.shape = shape;
      this.rebuild();
    } else {
      this.plot.setData(this.columns());
    }
    mark(this.plotted, "aria-label", this.sentence());
    this.read(null);
    this.tabulate();
  }

  columns() {
    return [this.data.x, ...this.data.series.map((one) => one.values)];
  }

  resize() {
    const width = this.plotted.clientWidth;
    if (width === 0 || this.data === null) return;
    if (this.plot === null) this.rebuild();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: this.height });
  }

  rebuild() {
    if (this.data === null) return;
    this.plot?.destroy();
    this.plot = null;
    const width = this.plotted.clientWidth;
    if (width === 0) return; // it is not laid out yet; then the observer calls
    this.plot = new window.uPlot(this.options(width), this.columns(), this.plotted);
    const shown = this.data.series.length > 1 ? this.data.series : [];
    keyed(this.legend, shown, (one) => one.label, (one) => entry(one), (made, _, at) => mark(made.firstElementChild, "class", `swatch series-${(at % COLOURS) + 1}`));
  }

  options(width) {
    const [ink, rule] = [colour("soft"), colour("rule")];
    const lined = { stroke: ink, font: FONT, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    const few = this.data.x.length < 40;
    return {
      width,
      height: this.height,
      padding: [null, 32, null, null], // half of the last instant's words
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      scales: { x: { range: (_, from, to) => this.span(from, to) }, y: { range: (_, from, to) => [Math.min(0, from ?? 0), to > 0 ? to * 1.05 : 1] } },
      axes: [
        { ...lined, size: 32, incrs: STEPS_S, space: 70, values: (_, splits, __, ___, everyS) => splits.map((s) => tick(s * 1000, everyS)) },
        { ...lined, size: 64, incrs: steps(this.unit), values: (_, splits) => splits.map(axis(this.unit, greatest(splits))) },
      ],
      series: [{}, ...this.data.series.map((one, at) => this.drawn(at, few))],
      hooks: { setCursor: [(plot) => this.read(plot.cursor.idx)] },
    };
  }

  /** Bars stand on both sides of their instant, so they need half a window more; so does a single point. */
  span(from, to) {
    const { x } = this.data;
    const half = x.length > 1 ? (x[1] - x[0]) / 2 : 1800;
    return this.bars || x.length < 2 ? [from - half, to + half] : [from, to];
  }

  drawn(at, few) {
    const stroke = colour(`series-${(at % COLOURS) + 1}`);
    const shared = { stroke, width: 2, dash: DASHES[at % COLOURS], points: { show: (few || alone(this.data.series[at].values)) && !this.bars, size: 5, fill: stroke } };
    return this.bars ? { ...shared, fill: stroke, paths: window.uPlot.paths.bars({ size: [0.7, 60] }) } : shared;
  }

  /** Says what stands at a place, or at the last one. */
  read(at) {
    const { x, series } = this.data;
    const place = at ?? x.length - 1;
    if (x[place] === undefined) return say(this.readout, "");
    const values = series.map((one) => `${series.length > 1 ? `${words(one.label)} ` : ""}${measured(one.values[place], this.unit)}`);
    say(this.readout, `${clock(x[place] * 1000, { seconds: this.seconds })}: ${values.join(", ")}`);
  }

  sentence() {
    const { x, series } = this.data;
    if (x.length === 0) return `${this.label}: nothing yet`;
    const said = series.map((one) => {
      const values = one.values.filter((value) => value !== null && value !== undefined);
      if (values.length === 0) return `${words(one.label)}: no number`;
      const [least, most, last] = [Math.min(...values), Math.max(...values), values.at(-1)].map((value) => measured(value, this.unit));
      return `${words(one.label)} from ${least} to ${most}, last ${last}`;
    });
    return `${this.label}, ${clock(x[0] * 1000)} to ${clock(x.at(-1) * 1000)}: ${said.join("; ")}`;
  }

  tabulate() {
    if (!this.rows.open || this.data === null) return;
    const { x, series } = this.data;
    const columns = [
      { label: "from", heading: true, value: (at) => clock(x[at] * 1000, { seconds: this.seconds }) },
      ...series.map((_, nth) => ({
        label: words(this.data.series[nth].label),
        numeric: true,
        value: (at) => measured(this.data.series[nth].values[at], this.unit),
      })),
    ];
    const made = table(this.label, columns, (at) => x[at]);
    made.update(x.map((_, at) => at).reverse());
    const top = this.held.firstElementChild?.scrollTop ?? 0;
    const region = scrolled(`${this.label} as a table`, made.element);
    if (this.held.contains(document.activeElement)) return; // who reads it is not disturbed
    this.held.replaceChildren(region);
    region.scrollTop = top;
  }
}

/** Whether there is one number only, through which no line goes. */
function alone(values) {
  return values.filter((value) => value !== null && value !== undefined).length === 1;
}

function entry(one) {
  const swatch = svg("svg", { viewBox: "0 0 24 8", width: 24, height: 8 }, svg("line", { x1: 0, y1: 4, x2: 24, y2: 4 }));
  return el("li", {}, swatch, words(one.label));
}

let probe = null;

/** A custom property's colour, as canvas takes it: of the theme that is shown. */
function colour(name) {
  if (probe === null) {
    probe = el("span", { hidden: true });
    document.body.append(probe);
  }
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
