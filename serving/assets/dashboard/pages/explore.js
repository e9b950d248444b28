// Any question to any view that is declared. The form follows from /v1/views, so it has the views of others too.

import { ACCESS, ask, fetched } from "../api.js";
import { Chart } from "../chart.js";
import { el, mark, say } from "../dom.js";
import { clock, measured, whole, words } from "../format.js";
import { panel, scrolled } from "../panel.js";
import { greatest, lines } from "../series.js";
import { bar, fill, table } from "../table.js";
import { Form } from "./explore_form.js";

export const TITLE = "Explore";

const MOST_SHOWN = 200;
const MOST_BARS = 30;
const MOST_ASKED = 5000;

/** Puts the page into `main`: the views, and of the one that the address names the form and its answer. */
export async function open(main) {
  const { views } = await ask("/v1/views");
  const asked = new URLSearchParams(location.search);
  const view = views.find((one) => one.view === asked.get("view"));
  main.append(choice(views, view));
  if (view === undefined) {
    main.append(el("dl", { class: "views" }, ...views.map(described)));
    return;
  }
  const results = el("div", {});
  let shown = null;
  const form = new Form(view, asked, () => {
    shown?.stop();
    shown = null;
    const question = form.question();
    if (question === null) {
      results.replaceChildren(el("p", { class: "empty" }, `Say ${form.missing().join(" and ")}, then choose Ask.`));
      return;
    }
    const result = new Result(view, form, question);
    shown = result.feed;
    results.replaceChildren(result.element);
  });
  main.append(el("p", { class: "lead" }, sentence(view.summary)), form.element, results);
  form.changed();
}

function choice(views, view) {
  const links = views.map((one) => {
    const link = el("a", { href: address(one) }, one.view);
    mark(link, "aria-current", one === view ? "true" : null);
    return el("li", {}, link);
  });
  return el("nav", { "aria-label": "Views" }, el("ul", { class: "spans" }, ...links));
}

function described(view) {
  const by = view.groupings.map((grouping) => grouping.join(" × ") || "the total").join(", or ");
  return el("div", {}, el("dt", {}, el("a", { href: address(view) }, view.view)), el("dd", {}, sentence(view.summary)), el("dd", { class: "soft" }, `by ${by}`));
}

function address(view) {
  return `/explore?${new URLSearchParams({ view: view.view })}`;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

/** A question's answer: links to it, and its rows as a table or a chart. */
class Result {
  constructor(view, form, question) {
    this.form = form;
    this.chart = null;
    this.table = null;
    this.bars = null;
    this.shape = "";
    this.measures = "";
    this.more = el("p", { class: "soft" });
    this.which = el("div", { class: "controls" });
    this.drawn = el("div", {});
    const made = panel({
      title: view.view,
      question: () => (view.asked_in.length ? withParameter(question(), "limit", MOST_ASKED) : question()),
      push: form.live,
      everyS: 10,
      wide: true,
      empty: "No cell of this question. Ask for another span, or for less.",
      draw: (document, body) => this.draw(flat(document), body),
    });
    made.section.querySelector("h2").after(links(view, question));
    this.feed = made.feed;
    this.element = made.section;
  }

  draw(document, body) {
    if (!this.which.isConnected) body.append(this.which, this.more, this.drawn);
    const measures = document.measures.filter((name) => document.cells.some((cell) => typeof cell[name] === "number"));
    const measure = measures.includes(this.form.measure) ? this.form.measure : measures[0];
    const charted = this.form.show === "chart" && measure !== undefined;
    this.which.hidden = !charted;
    this.pick(measures, measure);
    const shape = JSON.stringify([charted, measure, document.measures, document.dimensions, timed(document)]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(document, charted, measure);
    }
    this.refresh(document, measure);
  }

  build(document, charted, measure) {
    this.chart = this.table = this.bars = null;
    const unit = document.units[measure] ?? "";
    if (charted && timed(document)) {
      this.chart = new Chart({ label: `${words(measure)} by the ${document.window}`, unit });
      this.drawn.replaceChildren(this.chart.element);
    } else if (charted) {
      const columns = [
        ...named(document),
        { label: words(measure), numeric: true, value: (row) => measured(row[measure], unit) },
        { label: "against the greatest", node: bar, refresh: (made, row) => fill(made, (row[measure] ?? 0) / row.most) },
      ];
      this.bars = table(`${document.view}: ${words(measure)}`, columns, keyOf(document));
      this.drawn.replaceChildren(scrolled(document.view, this.bars.element));
    } else {
      const numbers = document.measures.map((name) => ({ label: words(name), numeric: true, value: (row) => measured(row[name], document.units[name]) }));
      this.table = table(document.view, [...named(document), ...numbers], keyOf(document));
      this.drawn.replaceChildren(scrolled(document.view, this.table.element));
    }
  }

  pick(measures, measure) {
    if (measures.join() === this.measures) return;
    this.measures = measures.join();
    const chosen = (event) => {
      this.form.measure = event.target.value;
      this.form.keep();
      this.draw(flat(this.feed.document), this.drawn.parentElement);
    };
    const options = measures.map((name) => el("option", { value: name, selected: name === measure }, words(name)));
    this.which.replaceChildren(el("span", {}, el("label", { for: "measure" }, "Draw"), el("select", { id: "measure", onchange: chosen }, ...options)));
  }

  refresh(document, measure) {
    const { cells } = document;
    if (this.chart !== null) {
      const drawn = lines(document, [measure], { gaps: document.units[measure] === "%" || /_p\d+$/.test(measure) });
      this.chart.update(drawn);
      say(this.more, drawn.more ? `The greatest ${drawn.series.length} of ${drawn.series.length + drawn.more} lines.` : "");
      return;
    }
    const most = this.bars === null ? MOST_SHOWN : MOST_BARS;
    const rows = this.bars === null ? cells : [...cells].sort((one, other) => (other[measure] ?? 0) - (one[measure] ?? 0));
    const scale = this.bars === null ? 1 : Math.max(Number.MIN_VALUE, greatest(cells.map((cell) => cell[measure])));
    (this.bars ?? this.table).update(rows.slice(0, most).map((cell) => ({ ...cell, most: scale })));
    const cut = document.next ? "more than " : "";
    say(this.more, cells.length > most || document.next ? `${whole(Math.min(most, cells.length))} of ${cut}${whole(cells.length)} rows; CSV and Arrow have all.` : "");
  }
}

/** The answer in each form it has: as links, which where a token is needed are fetched with it. */
function links(view, question) {
  const told = el("span", { role: "status" });
  const formed = (form) => () => withParameter(question(), "format", form);
  const kinds = [["JSON", question, "json"], ["CSV", formed("csv"), "csv"], ["Arrow", formed("feather"), "arrow"]];
  const made = kinds.slice(0, question().startsWith("/v1/views/") ? kinds.length : 1).map(([name, addressOf, ending]) => {
    const file = `${view.view}.${ending}`;
    const link = el("a", { href: addressOf(), download: ending === "json" ? null : file }, name);
    link.addEventListener("click", (event) => {
      mark(link, "href", addressOf()); // a span that goes on has gone on
      if (ACCESS !== "tokens") return;
      event.preventDefault();
      download(link.href, file, told);
    });
    return el("li", {}, link);
  });
  const copy = el("button", { type: "button", onclick: () => copyAddress(told) }, "Copy the link of this page");
  return el("div", { class: "links-of" }, el("ul", { class: "spans" }, ...made), copy, told);
}

/** A file that the browser cannot fetch by itself, since it has no token. */
async function download(address, file, told) {
  say(told, `Fetching ${file} …`);
  try {
    const body = await (await fetched(address, { accept: "*/*" })).blob();
    const href = URL.createObjectURL(body);
    el("a", { href, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
    say(told, "");
  } catch (error) {
    say(told, `${file} was not fetched: ${error.message}.`);
  }
}

function withParameter(address, name, value) {
  return `${address}${address.includes("?") ? "&" : "?"}${name}=${value}`;
}

async function copyAddress(told) {
  try {
    await navigator.clipboard.writeText(location.href);
    say(told, "Copied.");
  } catch {
    say(told, "The browser does not let this page copy; the link is in its address bar.");
  }
}

function timed(document) {
  return document.cells.some((cell) => cell.start_ms !== undefined);
}

function keyOf(document) {
  return (row) => JSON.stringify([row.start_ms, ...document.dimensions.map((name) => row[name])]);
}

/** Columns that name a row: its window's start, its dimensions; of a total nothing does. */
function named(document) {
  const start = timed(document) ? [{ label: "from", value: (row) => clock(row.start_ms, { seconds: false }) }] : [];
  return [...start, ...document.dimensions.map((name) => ({ label: words(name), value: (row) => row[name] || "(none)" }))];
}

/** A shelf as answers are: its titles are its cells. */
function flat(document) {
  if (document.cells !== undefined) return document;
  const cells = document.titles.map((one) => ({ ...one, at: clock(one.at_ms) }));
  return { ...document, window: "live", dimensions: ["title"], measures: ["position_s", "runtime_s", "at"], units: { position_s: "s", runtime_s: "s" }, cells };
}
