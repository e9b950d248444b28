// The form of a question to one view: what it can be asked by, in which windows, over which span. The page's address has all of it.

import { el } from "../dom.js";
import { words } from "../format.js";

const LASTS = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000 };
const DEFAULT_TOP = "20";

/** A form: { element }. `asked`: the page's query; `answered` is called when the question is another. */
export class Form {
  constructor(view, asked, answered) {
    this.view = view;
    this.answered = answered;
    this.dimensions = view.dimensions;
    this.placed = [...view.address.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    this.by = new Set((asked.get("by") ?? "").split(",").filter((name) => this.dimensions.includes(name)));
    this.only = new Map(this.dimensions.map((name) => [name, asked.get(name) ?? ""]));
    this.window = view.asked_in.includes(asked.get("window")) ? asked.get("window") : "";
    this.last = Object.hasOwn(LASTS, asked.get("last") ?? "") ? asked.get("last") : "";
    this.from = clockText(asked.get("from"));
    this.to = clockText(asked.get("to"));
    const first = asked.size <= 1 && this.ranks(); // nothing but the view is said
    this.top = asked.get("top") ?? (first ? DEFAULT_TOP : "");
    this.show = asked.get("show") === "chart" ? "chart" : "table";
    this.measure = asked.get("measure");
    this.element = this.built();
  }

  /** Whether the answer is pushed: one without a span follows the clock by itself. */
  get live() {
    return this.placed.length === 0 && !this.last && !this.from && !this.to;
  }

  ranks() {
    return this.placed.length === 0 && this.view.asked_in.length > 0 && this.dimensions.length > 0;
  }

  /** Says that the question is another. */
  changed() {
    this.keep();
    this.answered();
  }

  /** Puts what is chosen into the page's address. */
  keep() {
    history.replaceState(null, "", this.pageAddress());
  }

  /** What has to be said before it can be asked. */
  missing() {
    return this.placed.filter((name) => !this.only.get(name));
  }

  /** The question as a function of now; null while something is missing. */
  question() {
    if (this.missing().length) return null;
    const path = this.view.address.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(this.only.get(name)));
    return () => {
      const query = new URLSearchParams(this.parameters());
      if (this.last) {
        const now = Date.now();
        query.set("from", now - LASTS[this.last]);
        query.set("to", now);
      } else {
        for (const name of ["from", "to"]) if (this[name]) query.set(name, instant(this[name]));
      }
      return query.size ? `${path}?${query}` : path;
    };
  }

  /** Where this page shows this question. */
  pageAddress() {
    const own = { last: this.last, from: this.from, to: this.to, show: this.show === "chart" ? "chart" : "", measure: this.measure ?? "" };
    const placed = this.placed.map((name) => [name, this.only.get(name)]);
    const said = [["view", this.view.view], ...this.parameters(), ...placed, ...Object.entries(own)].filter(([, value]) => value);
    return `/explore?${new URLSearchParams(said)}`;
  }

  parameters() {
    if (this.placed.length) return [];
    const by = [...this.by].filter((name) => !this.only.get(name)).join(",");
    const all = [["by", by], ...this.only, ["window", this.window], ["top", this.top]];
    return all.filter(([, value]) => value);
  }

  built() {
    const submit = (event) => {
      event.preventDefault();
      this.changed();
    };
    const change = () => (this.missing().length ? undefined : this.changed());
    return el(
      "form",
      { class: "controls ask", onsubmit: submit, onchange: change },
      ...this.dimensions.map((name) => this.dimension(name)),
      this.view.asked_in.length ? this.select("window", "Window", [["", "its first"], ...this.view.asked_in.map((name) => [name, name])]) : null,
      ...(this.view.asked_in.length ? this.span() : []),
      this.ranks() ? this.field("top", "Top", { type: "number", min: 1, max: 1000, inputmode: "numeric" }) : null,
      this.select("show", "Show", [["table", "a table"], ["chart", "a chart"]]),
      el("button", { type: "submit" }, "Ask"),
    );
  }

  dimension(name) {
    const placed = this.placed.includes(name);
    const only = el("input", { id: `only-${name}`, value: this.only.get(name), autocomplete: "off", spellcheck: "false", oninput: (event) => this.only.set(name, event.target.value.trim()) });
    const every = el("input", { id: `by-${name}`, type: "checkbox", checked: this.by.has(name), onchange: (event) => (event.target.checked ? this.by.add(name) : this.by.delete(name)) });
    const rows = placed ? [] : [every, el("label", { for: `by-${name}` }, "a row for each")];
    return el("fieldset", {}, el("legend", {}, words(name)), ...rows, el("label", { for: `only-${name}` }, placed ? "which" : "or only"), only);
  }

  span() {
    const between = ["from", "to"].map((name) => this.field(name, name, { type: "datetime-local" }));
    const lasts = [["", "now, or as below"], ...Object.keys(LASTS).map((name) => [name, `the last ${name}`])];
    return [this.select("last", "Span", lasts), ...between];
  }

  field(name, said, attributes) {
    const input = el("input", { id: name, value: this[name], ...attributes, oninput: (event) => (this[name] = event.target.value) });
    return el("span", {}, el("label", { for: name }, said), input);
  }

  select(name, said, options) {
    const made = options.map(([value, text]) => el("option", { value, selected: value === this[name] }, text));
    return el("span", {}, el("label", { for: name }, said), el("select", { id: name, onchange: (event) => (this[name] = event.target.value) }, ...made));
  }
}

/** The instant that a clock of the viewer's zone shows, in epoch milliseconds; what is no instant as it is, so that the server says so. */
function instant(text) {
  const ms = new Date(text).getTime();
  return Number.isNaN(ms) ? text : String(ms);
}

/** What an address says of an instant, ISO 8601 or epoch, as a field for it takes it: by a clock of the viewer's zone, to the minute. */
function clockText(text) {
  if (!text) return "";
  const number = /^\d+$/.test(text) ? Number(text) : null;
  const at = new Date(number === null ? text : number < 1e11 ? number * 1000 : number);
  return Number.isNaN(at.getTime()) ? "" : new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
