// Who is watching what, now.

import { ask } from "../api.js";
import { Chart } from "../chart.js";
import { el, say } from "../dom.js";
import { clock, tenths, titleAddress, whole } from "../format.js";
import { panel, scrolled } from "../panel.js";
import { lines, sum } from "../series.js";
import { bar, drawSpark, fill, spark, table } from "../table.js";

export const TITLE = "Now";

const HOUR = "/v1/views/concurrents?window=minute"; // the last sixty of them
const SPARKS_S = 60;
const NOBODY = "Nobody is watching now. A viewer counts for 30 s behind the last event.";
const START = `${NOBODY} To have some: `;

/** Puts the page's panels into `main`. */
export function open(main) {
  main.append(el("div", { class: "grid" }, watching(), lastHour(), regions(), top(), trending()));
}

function watching() {
  const number = el("p", { class: "big" }, whole(null));
  const made = panel({
    title: "Watching now",
    lead: "sessions starting, playing or stalled",
    question: () => "/v1/views/concurrents",
    push: true,
    empty: START,
    started: true,
    draw(document, body) {
      if (!number.isConnected) body.append(number);
      say(number, whole(document.cells[0].viewers));
    },
  });
  return made.section;
}

function lastHour() {
  const chart = new Chart({ label: "Viewers in the last hour" });
  const made = panel({
    title: "The last hour",
    question: () => HOUR,
    everyS: 15,
    rem: 21,
    empty: "No whole minute with a viewer yet: the first one comes within a minute of the first event.",
    draw(document, body) {
      if (!chart.element.isConnected) body.append(chart.element);
      chart.update(lines(document, ["viewers"]));
    },
  });
  made.section.classList.add("broad");
  return made.section;
}

function regions() {
  const columns = [
    { label: "region", heading: true, value: (row) => row.region || "(none)" },
    { label: "viewers", numeric: true, value: (row) => whole(row.viewers) },
    { label: "share", node: bar, refresh: (made, row) => fill(made, row.share) },
  ];
  const shown = table("Viewers by region", columns, (row) => row.region);
  return panel({
    title: "By region",
    question: () => "/v1/views/concurrents?by=region",
    push: true,
    empty: NOBODY,
    draw(document, body) {
      if (!shown.element.isConnected) body.append(shown.element);
      const all = sum(document.cells.map((cell) => cell.viewers));
      const rows = document.cells.map((cell) => ({ ...cell, share: cell.viewers / all }));
      shown.update(rows.sort((one, other) => other.viewers - one.viewers || one.region.localeCompare(other.region)));
    },
  }).section;
}

function top() {
  const sparks = new Sparks();
  const columns = [
    { label: "title", heading: true, href: (row) => titleAddress(row.title), value: (row) => row.title },
    { label: "viewers", numeric: true, value: (row) => whole(row.viewers) },
    { label: "last hour", node: spark, refresh: (made, row) => sparks.draw(made, row.title) },
  ];
  const shown = table("The ten titles with the most viewers", columns, (row) => row.title);
  return panel({
    title: "Top 10",
    question: () => "/v1/views/concurrents?top=10",
    push: true,
    rem: 28,
    empty: NOBODY,
    draw(document, body) {
      if (!shown.element.isConnected) body.append(scrolled("Top 10", shown.element));
      sparks.want(document.cells.map((cell) => cell.title));
      shown.update(document.cells);
    },
  }).section;
}

/** The last hour of some titles, asked one after the other, each anew once a minute while it is wanted. */
class Sparks {
  constructor() {
    this.wanted = [];
    this.known = new Map();
    this.places = new Map(); // where each was drawn last
    this.asking = false;
  }

  want(titles) {
    this.wanted = titles;
    for (const kept of [this.known, this.places]) for (const title of kept.keys()) if (!titles.includes(title)) kept.delete(title);
    this.go();
  }

  draw(made, title) {
    this.places.set(title, made);
    const values = this.known.get(title)?.values ?? null;
    if (values === null) return; // no answer yet
    const said = values.length ? `up to ${whole(Math.max(...values))} viewers` : "no whole minute yet";
    drawSpark(made, values, `${title} in the last hour: ${said}`);
  }

  async go() {
    if (this.asking) return;
    this.asking = true;
    try {
      for (let title = this.next(); title !== undefined; title = this.next()) {
        this.known.set(title, { at: performance.now(), values: this.known.get(title)?.values ?? null });
        const document = await ask(`${HOUR}&${new URLSearchParams({ title })}`);
        const [series] = document.cells.length ? lines(document, ["viewers"], { fixed: ["title"] }).series : [];
        const values = (series?.values ?? []).map((value) => value ?? 0);
        if (!this.known.has(title)) continue; // it is wanted no longer
        this.known.get(title).values = values;
        this.draw(this.places.get(title), title);
      }
    } catch {
      // the panel beside it says what is away; a sparkline waits for its next turn
    } finally {
      this.asking = false;
    }
  }

  next() {
    const due = performance.now() - SPARKS_S * 1000;
    return this.wanted.find((title) => (this.known.get(title)?.at ?? -Infinity) < due);
  }
}

function trending() {
  const columns = [
    { label: "title", heading: true, href: (row) => titleAddress(row.title), value: (row) => row.title },
    { label: "plays", numeric: true, value: (row) => whole(row.plays) },
    { label: "expected", numeric: true, value: (row) => tenths(row.expected) },
    { label: "score", numeric: true, value: (row) => `× ${tenths(row.score)}` },
    { label: "against", node: bar, refresh: (made, row) => fill(made, row.plays / row.most, row.expected / row.most) },
  ];
  const shown = table("Titles that are played more than their own past leads to expect", columns, (row) => row.title);
  const span = el("p", { class: "soft" });
  return panel({
    title: "Trending",
    lead: "plays in the last five minutes against what a title's own past leads to expect (the mark)",
    question: () => "/v1/views/trending?top=10", // of all titles, which is much to read: not pushed
    rem: 34,
    empty: "Nothing was played in the last five minutes.",
    draw(document, body) {
      if (!shown.element.isConnected) body.append(span, scrolled("Trending", shown.element));
      say(span, `${clock(Date.parse(document.from), { seconds: false })} to ${clock(Date.parse(document.to), { seconds: false })}`);
      const most = Math.max(1, ...document.cells.flatMap((cell) => [cell.plays, cell.expected]));
      shown.update(document.cells.map((cell) => ({ ...cell, most })));
    },
  }).section;
}
