// A panel: a heading, what is drawn of the newest answer, and what that is worth: as of when, from how many sources, whether it can change.

import { el, mark, newId, say } from "./dom.js";
import { Feed } from "./feed.js";
import { age, setTime } from "./format.js";

const STALE_S = 10; // live partitions move their clocks every second
const STATES = {
  waiting: "waiting",
  live: "live",
  polling: "polling",
  stale: "stale",
  cut: "cut off, trying again",
  failed: "no answer",
  paused: "paused",
};
const OLD = ["waiting", "cut", "failed"]; // what is shown is of an answer before
const OTHER_TOKEN = "Who has a token that is may forget this one, at the end of the page, and give that.";
const LOAD = "marquee load --rate 2000 --duration 60 --run first";

/**
 * A panel and its feed, begun: { section, feed }.
 *
 * question() → address; push, everyS as a Feed has them; lead: words under the heading; wide: over all columns; rem: about how high it will
 * be, so that what stands below need not move when the first answer comes.
 * draw(document, body): brings the body up to date. empty: what to say, when there is no cell, to someone who expects some; started: and how to start
 * a load.
 */
export function panel({ title, question, draw, push = false, everyS = 5, lead = null, wide = false, rem = 0, empty = "There is nothing to show.", started = false }) {
  const id = newId("panel");
  const body = el("div", { class: "body" });
  const message = el("div", { class: "message" });
  const standing = new Standing();
  const section = el(
    "section",
    { class: wide ? "panel wide" : "panel", "aria-labelledby": id },
    el("h2", { id }, title),
    lead === null ? null : el("p", { class: "lead" }, lead),
    message,
    body,
    standing.element,
  );
  section.style.setProperty("--awaited", `${rem}rem`);
  const feed = new Feed(
    question,
    (told) => {
      const { document } = told;
      section.classList.toggle("old", OLD.includes(told.state));
      section.classList.toggle("awaited", document === null && told.problem === null);
      standing.show(told);
      const nothing = (document?.cells ?? document?.titles ?? document?.members)?.length === 0;
      body.hidden = document === null || nothing;
      sayMessage(message, told, nothing, { everyS, empty, started });
      if (document !== null && !nothing) draw(document, body);
    },
    { push, everyS },
  );
  feed.start();
  return { section, feed };
}

function sayMessage(message, told, nothing, { everyS, empty, started }) {
  const { document, problem, state } = told;
  if (problem !== null) {
    const again = problem.passing ? ` Trying again every ${everyS} s.` : problem.status === 403 ? ` ${OTHER_TOKEN}` : "";
    put(message, "problem", `${problem.title}: ${problem.message}${problem.message.endsWith(".") ? "" : "."}${again}`);
  } else if (document === null) {
    put(message, "waiting", state === "cut" ? "The server is not reached. Is `marquee up` or `marquee serve` running?" : "Waiting for the first answer …");
  } else if (nothing && document.as_of_ms === null) {
    put(message, "empty", "No event yet. Start a load: ", LOAD);
  } else if (nothing) {
    put(message, "empty", empty, started ? LOAD : null);
  } else {
    put(message, "", "");
  }
}

function put(message, kind, text, command = null) {
  const said = `${kind} ${text}${command ?? ""}`;
  if (message.dataset.said === said) return;
  message.dataset.said = said;
  message.replaceChildren(...(kind ? [el("p", { class: kind }, text, command === null ? null : el("code", {}, command))] : []));
}

/** The line under a panel, whose age goes on by itself. */
export class Standing {
  constructor() {
    this.chip = el("span", { class: "chip" });
    this.asOf = el("time", {});
    this.age = el("span", {});
    this.sources = el("span", {});
    this.final = el("span", {});
    this.worth = el("span", { hidden: true }, " as of ", this.asOf, this.age, " · ", this.sources, " · ", this.final);
    this.none = el("span", { hidden: true }, " no event yet");
    this.answered = el("span", { hidden: true });
    this.notes = el("ul", {});
    this.summary = el("summary", {});
    this.details = el("details", { class: "notes", hidden: true }, this.summary, this.notes);
    this.element = el("div", { class: "standing" }, el("p", {}, this.chip, this.worth, this.none, this.answered), this.details);
    this.told = null;
    this.stillMs = null; // since when what it shows stands still, though it is asked
    standings.add(this);
  }

  /** Of what a Feed told. */
  show(told) {
    this.told = { state: told.state, document: told.document, at: told.at, everyS: told.everyS };
    const notes = told.document?.notes ?? [];
    this.details.hidden = notes.length === 0;
    say(this.summary, `${notes.length} note${notes.length === 1 ? "" : "s"}`);
    const said = notes.join("\n");
    if (this.notes.dataset.said !== said) {
      this.notes.dataset.said = said;
      this.notes.replaceChildren(...notes.map((note) => el("li", {}, note)));
    }
    this.tick();
  }

  tick() {
    if (this.told === null) return;
    const { state, document, at, everyS } = this.told;
    const lagS = document?.lag_s ?? null;
    const sinceS = (performance.now() - at) / 1000;
    const behindS = lagS === null ? null : lagS + sinceS;
    const allowedS = { live: STALE_S, polling: STALE_S + everyS }[state] ?? Infinity; // between two askings nothing can be heard
    const shown = !document?.final && behindS !== null && behindS > allowedS ? "stale" : state;
    this.stillMs = shown === "stale" ? document.as_of_ms : null;
    mark(this.chip, "data-state", shown);
    say(this.chip, STATES[shown]);
    const answer = document?.complete === undefined ? null : document; // a status is worth what its sources are
    this.none.hidden = answer === null || answer.as_of_ms !== null;
    this.worth.hidden = answer === null || answer.as_of_ms === null;
    this.answered.hidden = document === null || answer !== null;
    if (!this.answered.hidden) say(this.answered, ` answered ${age(sinceS)} ago`);
    if (!this.worth.hidden) this.say(answer, behindS);
  }

  say({ as_of_ms: asOfMs, sources: { heard, known }, final }, behindS) {
    setTime(this.asOf, asOfMs);
    say(this.age, `, ${age(behindS)} ago`);
    say(this.sources, `${heard} of ${known} sources`);
    mark(this.sources, "class", heard < known ? "lacking" : null);
    say(this.final, final ? "final" : "provisional");
  }
}

const standings = new Set();
const watchers = new Set();

setInterval(() => {
  standings.forEach((one) => (one.element.isConnected ? one.tick() : standings.delete(one)));
  const since = [...standings].map((one) => one.stillMs).filter((ms) => ms !== null);
  for (const heard of watchers) heard(since.length ? Math.min(...since) : null);
}, 1000);

/** Calls heard(epoch ms or null) every second: since when numbers of the page stand still, if any do. */
export function watchStandstill(heard) {
  watchers.add(heard);
}

/** A region that may be wider than the page, and is then moved by itself, with the keyboard too. */
export function scrolled(label, ...children) {
  return el("div", { class: "scroll", role: "group", "aria-label": label, tabindex: "0" }, ...children);
}
