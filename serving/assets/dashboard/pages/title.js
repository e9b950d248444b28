// One title: who watches it, and what it has been through.

import { Chart } from "../chart.js";
import { el, keyed, mark, say } from "../dom.js";
import { measured, tenths, titleAddress, whole } from "../format.js";
import { panel, scrolled } from "../panel.js";
import { lines, sum } from "../series.js";
import { bar, fill, table } from "../table.js";

export const TITLE = "Title";

const SPANS = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000 };
const DAY_MS = 86_400_000;
const MOST_ROWS = 2000; // a day has 1,440 minutes
const NOTHING = "Nothing of this title in these hours.";

/** Puts the page's panels into `main`: of the title that the address names, else a way to name one. */
export function open(main) {
  const asked = new URLSearchParams(location.search);
  const title = asked.get("title") ?? "";
  const span = Object.hasOwn(SPANS, asked.get("span") ?? "") ? asked.get("span") : "1h";
  main.append(search(title));
  if (title === "") {
    main.append(el("div", { class: "grid" }, suggested()));
    return;
  }
  document.title = `${title} · Marquee`;
  say(main.querySelector("h1"), title);
  main.append(el("div", { class: "grid" }, watching(title), ...trends(title), minutes(title, span), ...hours(title), regions(title)));
}

function search(title) {
  const known = el("datalist", { id: "titles" });
  const input = el("input", { id: "title", name: "title", value: title, list: "titles", required: true, autocomplete: "off", spellcheck: "false" });
  return el(
    "form",
    { class: "controls", role: "search", action: "/title", method: "get" },
    el("span", {}, el("label", { for: "title" }, "Title"), input),
    el("button", { type: "submit" }, "Show"),
    known,
  );
}

function suggested() {
  const list = el("ul", { class: "links" });
  return panel({
    title: "Watched now",
    lead: "Write a title, or take one of those that are watched most.",
    question: () => "/v1/views/concurrents?top=50",
    push: true,
    wide: true,
    empty: "Nobody is watching now; write the title that you look for.",
    draw(document, body) {
      if (!list.isConnected) body.append(list);
      const titles = document.cells.map((cell) => cell.title);
      keyed(list, document.cells, (cell) => cell.title, (cell) => el("li", {}, el("a", { href: titleAddress(cell.title) }, cell.title), " ", el("span", {})), (made, cell) => say(made.lastElementChild, whole(cell.viewers)));
      keyed(window.document.getElementById("titles"), titles, (one) => one, (one) => el("option", { value: one }), () => {});
    },
  }).section;
}

/** The address of a question about the title; `span` goes back so many milliseconds from now. */
function about(view, title, parameters, spanMs = 0) {
  const now = Date.now();
  const moving = spanMs ? { from: now - spanMs, to: now } : {};
  return `/v1/views/${view}?${new URLSearchParams({ title, ...parameters, ...moving })}`;
}

function watching(title) {
  const number = el("p", { class: "big" });
  return panel({
    title: "Watching now",
    question: () => about("concurrents", title, {}),
    push: true,
    empty: "Nobody is watching it now.",
    draw(document, body) {
      if (!number.isConnected) body.append(number);
      say(number, whole(document.cells[0].viewers));
    },
  }).section;
}

function trends(title) {
  return [["5m", "five minutes"], ["1h", "hour"]].map(([span, said]) => {
    const score = el("p", { class: "big" });
    const told = el("p", {});
    return panel({
      title: `Trend, last ${said}`,
      question: () => about("trending", title, { window: span }),
      push: span === "5m",
      empty: `Not played in the last ${said}.`,
      draw(document, body) {
        if (!score.isConnected) body.append(score, told);
        const [cell] = document.cells;
        say(score, `× ${tenths(cell.score)}`);
        say(told, `${whole(cell.plays)} plays, ${tenths(cell.expected)} expected from its own past`);
      },
    }).section;
  });
}

function minutes(title, span) {
  const chart = new Chart({ label: "Viewers by the minute" });
  const links = Object.keys(SPANS).map((name) => {
    const link = el("a", { href: `/title?${new URLSearchParams({ title, span: name })}` }, name);
    mark(link, "aria-current", name === span ? "true" : null);
    return el("li", {}, link);
  });
  const made = panel({
    title: "Viewers by the minute",
    question: () => about("concurrents", title, { window: "minute", limit: MOST_ROWS }, SPANS[span]),
    everyS: 15,
    wide: true,
    rem: 22,
    empty: "No viewer in any whole minute of this span.",
    draw(document, body) {
      if (!chart.element.isConnected) body.append(chart.element);
      chart.update(lines(document, ["viewers"], { fixed: ["title"] }));
    },
  });
  made.section.querySelector("h2").after(el("nav", { "aria-label": "Span" }, el("ul", { class: "spans" }, ...links)));
  return made.section;
}

function hours(title) {
  return [
    ofHours(title, "watch_time", "Watched, last 24 hours", [
      ["Time watched by the hour", ["watched_ms"], "ms"],
      ["Plays and attempts by the hour", ["plays", "attempts"], "", "lines"],
    ]),
    ofHours(title, "sessions", "Sessions, last 24 hours", [
      ["Sessions that are over, by the hour", ["sessions", "complete", "exits_before_start"], "", "lines"],
      ["How long they were", ["length_p50", "length_p95"], "s", "gaps"],
    ]),
    ofHours(title, "audience", "Audience, last 24 hours", [["Different viewers by the hour", ["viewers"], ""]]),
  ];
}

function ofHours(title, view, heading, drawn) {
  const headed = drawn.length > 1;
  const charts = drawn.map(([label, measures, unit, kind]) => ({ chart: new Chart({ label, unit, bars: kind === undefined, headed }), measures, gaps: kind === "gaps" }));
  const made = panel({
    title: heading,
    question: () => about(view, title, { window: "hour" }, DAY_MS),
    everyS: 15,
    empty: NOTHING,
    draw(document, body) {
      if (!body.hasChildNodes()) body.append(...charts.map((one) => one.chart.element));
      for (const { chart, measures, gaps } of charts) chart.update(lines(document, measures, { fixed: ["title"], gaps }));
    },
  });
  made.section.classList.add("half");
  return made.section;
}

function regions(title) {
  const columns = [
    { label: "region", heading: true, value: (row) => row.region || "(none)" },
    { label: "watched", numeric: true, value: (row) => measured(row.watched_ms, "ms") },
    { label: "plays", numeric: true, value: (row) => whole(row.plays) },
    { label: "share", node: bar, refresh: (made, row) => fill(made, row.share) },
  ];
  const shown = table("Watched today (UTC) by region", columns, (row) => row.region);
  const made = panel({
    title: "Where, today (UTC)",
    question: () => about("watch_time", title, { by: "region", window: "day" }),
    everyS: 15,
    empty: "Not watched today.",
    draw(document, body) {
      if (!shown.element.isConnected) body.append(scrolled("Where", shown.element));
      const all = Math.max(1, sum(document.cells.map((cell) => cell.watched_ms)));
      const rows = document.cells.map((cell) => ({ ...cell, share: cell.watched_ms / all }));
      shown.update(rows.sort((one, other) => other.watched_ms - one.watched_ms));
    },
  });
  made.section.classList.add("half");
  return made.section;
}
