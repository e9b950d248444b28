// How good the picture is: a map of CDN × region, and one of its fields over time.

import { Chart } from "../chart.js";
import { el, mark, say } from "../dom.js";
import { measured } from "../format.js";
import { panel, scrolled } from "../panel.js";
import { lines } from "../series.js";

export const TITLE = "Quality";

const SPANS = { 5: "5 minutes", 15: "15 minutes", 60: "hour" };
const LEVELS = 5; // --heat-1 … in style.css
const MEASURES = {
  rebuffer_pct: { said: "Rebuffering", unit: "%" },
  startup_p95: { said: "Startup, 95th percentile", unit: "ms" },
  startup_p50: { said: "Startup, median", unit: "ms" },
  start_failure_pct: { said: "Start failures", unit: "%" },
  playback_failure_pct: { said: "Playback failures", unit: "%" },
  bitrate_kbps: { said: "Average bitrate", unit: "kbit/s" },
};
const MOST_CELLS = 1000;
const NOTHING = "Nothing was played in this span.";

/** What the page shows; the address says it, so that it can be passed on. */
class Chosen {
  constructor() {
    const asked = new URLSearchParams(location.search);
    this.span = Object.hasOwn(SPANS, asked.get("span") ?? "") ? asked.get("span") : "60";
    this.measure = Object.hasOwn(MEASURES, asked.get("measure") ?? "") ? asked.get("measure") : "rebuffer_pct";
    this.cdn = asked.get("cdn");
    this.region = asked.get("region");
  }

  set(changed) {
    Object.assign(this, changed);
    const named = Object.entries({ span: this.span, measure: this.measure, cdn: this.cdn, region: this.region });
    history.replaceState(null, "", `/quality?${new URLSearchParams(named.filter(([, value]) => value !== null))}`);
  }

  is(cell) {
    return cell.cdn === this.cdn && cell.region === this.region;
  }

  /** The address of a question about the span. */
  about(parameters) {
    const now = Date.now();
    return `/v1/views/quality?${new URLSearchParams({ window: "minute", from: now - this.span * 60_000, to: now, ...parameters })}`;
  }
}

/** Puts the page's panels into `main`. */
export function open(main) {
  const chosen = new Chosen();
  const over = overTime(chosen);
  const map = heatMap(chosen, over.again);
  const choose = (changed) => {
    chosen.set(changed);
    map.feed.start();
    over.again();
  };
  main.append(controls(chosen, choose), el("div", { class: "grid" }, map.section, over.section));
}

function controls(chosen, choose) {
  const select = (id, said, options, value, key) =>
    el(
      "span",
      {},
      el("label", { for: id }, said),
      el(
        "select",
        { id, onchange: (event) => choose({ [key]: event.target.value }) },
        ...options.map(([name, text]) => el("option", { value: name, selected: name === value }, text)),
      ),
    );
  return el(
    "div",
    { class: "controls" },
    select("measure", "Show", Object.entries(MEASURES).map(([name, { said }]) => [name, said]), chosen.measure, "measure"),
    select("span", "of the last", Object.entries(SPANS), chosen.span, "span"),
  );
}

function heatMap(chosen, again) {
  const heat = new Heat(chosen, again);
  return panel({
    title: "CDN × region",
    lead: "Choose a field to see it over time.",
    question: () => chosen.about({ by: "cdn,region", top: MOST_CELLS }),
    wide: true,
    rem: 20,
    empty: NOTHING,
    draw(document, body) {
      const first = document.cells.find(askable); // the one with the most attempts
      if (chosen.cdn === null && first !== undefined) {
        chosen.cdn = first.cdn;
        chosen.region = first.region;
        again();
      }
      if (!heat.element.isConnected) body.append(heat.element);
      heat.draw(document.cells);
    },
  });
}

/** Whether a field can be asked for alone: what events do not name cannot be named in a question. */
function askable({ cdn, region }) {
  return cdn !== "" && region !== "";
}

/** The map, as a table whose fields are buttons. */
class Heat {
  constructor(chosen, again) {
    this.chosen = chosen;
    this.again = again;
    this.caption = el("caption", {});
    this.table = el("table", { class: "heat" });
    this.scale = el("p", { class: "scale" });
    this.element = el("div", {}, scrolled("CDN × region", this.table), this.scale);
    this.shape = "";
    this.buttons = new Map();
  }

  draw(cells) {
    const cdns = names(cells, "cdn");
    const regions = names(cells, "region");
    const shape = JSON.stringify([cdns, regions]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(cdns, regions);
    }
    this.fill(cells);
  }

  build(cdns, regions) {
    this.buttons.clear();
    const field = (cdn, region) => {
      const press = () => {
        this.chosen.set({ cdn, region });
        this.press();
        this.again();
      };
      const button = el("button", { type: "button", onclick: press, disabled: !askable({ cdn, region }) });
      this.buttons.set(JSON.stringify([cdn, region]), { button, cdn, region });
      return el("td", {}, button);
    };
    const head = el("tr", {}, el("td", {}), ...regions.map((region) => el("th", { scope: "col" }, region || "(none)")));
    const rows = cdns.map((cdn) => el("tr", {}, el("th", { scope: "row" }, cdn || "(none)"), ...regions.map((region) => field(cdn, region))));
    this.table.replaceChildren(this.caption, el("thead", {}, head), el("tbody", {}, ...rows));
  }

  fill(cells) {
    const { said, unit } = MEASURES[this.chosen.measure];
    const values = new Map(cells.map((cell) => [JSON.stringify([cell.cdn, cell.region]), cell[this.chosen.measure]]));
    const known = [...values.values()].filter((value) => value !== null && value !== undefined);
    const [least, most] = [Math.min(...known), Math.max(...known)];
    say(this.caption, `${said}, last ${SPANS[this.chosen.span]}`);
    say(this.scale, known.length ? `The stronger the colour, the greater: from ${measured(least, unit)} to ${measured(most, unit)}.` : "");
    for (const [key, { button }] of this.buttons) {
      const value = values.get(key) ?? null;
      say(button, measured(value, unit));
      mark(button, "class", value === null ? "heat-none" : `heat-${level(value, least, most)}`);
    }
    this.press();
  }

  press() {
    for (const { button, cdn, region } of this.buttons.values()) mark(button, "aria-pressed", String(this.chosen.is({ cdn, region })));
  }
}

function names(cells, dimension) {
  return [...new Set(cells.map((cell) => cell[dimension]))].sort();
}

function level(value, least, most) {
  return most > least ? Math.min(LEVELS, 1 + Math.floor((LEVELS * (value - least)) / (most - least))) : 1;
}

function overTime(chosen) {
  const startup = new Chart({ label: "Startup by the minute", unit: "ms", headed: true });
  const shares = new Chart({ label: "Rebuffering and failures by the minute", unit: "%", headed: true });
  const made = panel({
    title: "Over time",
    question: () => chosen.about(chosen.cdn === null ? { by: "cdn" } : { cdn: chosen.cdn, region: chosen.region }),
    wide: true,
    rem: 24,
    empty: NOTHING,
    draw(document, body) {
      if (chosen.cdn === null) return; // the map chooses one
      if (!startup.element.isConnected) body.append(el("div", { class: "pair" }, startup.element, shares.element));
      const fixed = ["cdn", "region"];
      startup.update(lines(document, ["startup_p50", "startup_p95", "startup_p99"], { fixed, gaps: true }));
      shares.update(lines(document, ["rebuffer_pct", "start_failure_pct", "playback_failure_pct"], { fixed, gaps: true }));
    },
  });
  const heading = made.section.querySelector("h2");
  const again = () => {
    if (chosen.cdn === null) return;
    say(heading, `Over time: ${chosen.cdn || "(none)"} in ${chosen.region || "(none)"}`);
    made.feed.start();
  };
  again();
  return { section: made.section, again };
}
