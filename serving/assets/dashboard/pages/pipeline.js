// How the numbers come about: what became of every event, who works on which partition, and how far each is.

import { Chart } from "../chart.js";
import { el, keyed, mark, say } from "../dom.js";
import { age, clock, NONE, setTime, time, whole } from "../format.js";
import { panel, scrolled } from "../panel.js";
import { sum } from "../series.js";
import { table } from "../table.js";

export const TITLE = "Pipeline";

const CLASSES = ["applied", "duplicate", "late", "dead"];
const SILENT_S = 5; // a living worker is heard of every second
const STATUS_S = 2;
const MEMBERS_S = 3;
const RATE_S = 300;
const REMEMBERED_MS = 600_000;
const MOST_NEWS = 20;

/** Puts the page's panels into `main`. */
export function open(main) {
  main.append(el("div", { class: "grid" }, equation(), standing(), members()));
}

function equation() {
  const terms = new Map(["received", ...CLASSES].map((name) => [name, el("strong", {}, NONE)]));
  const verdict = el("p", { class: "verdict" });
  const term = (name, sign) => el("p", {}, sign ? el("span", { class: "sign" }, sign) : null, el("span", { class: "term" }, el("span", {}, name), terms.get(name)));
  const signs = ["=", "+", "+", "+"];
  const shown = el("div", { class: "equation" }, term("received", ""), ...CLASSES.map((name, at) => term(name, signs[at])));
  const rate = new Rate();
  return panel({
    title: "What became of every event",
    lead: "received = applied + duplicate + late + dead, for every partition, always",
    question: () => "/v1/views/accounting",
    push: true,
    wide: true,
    rem: 20,
    empty: "No partition has been worked on yet.",
    draw(document, body) {
      if (!shown.isConnected) body.append(shown, verdict, rate.chart.element);
      for (const [name, place] of terms) say(place, whole(sum(document.cells.map((cell) => cell[name]))));
      const wrong = document.cells.filter((cell) => !balanced(cell));
      mark(verdict, "data-state", wrong.length ? "bad" : "good");
      const where = wrong.map((cell) => `${cell.topic}/${cell.partition}`).join(", ");
      say(verdict, wrong.length ? `✗ it does not hold at ${where}` : `✓ it holds at every one of ${document.cells.length} partitions`);
      rate.take(sum(document.cells.map((cell) => cell.received)));
    },
  }).section;
}

function balanced(counted) {
  return counted.received === sum(CLASSES.map((name) => counted[name]));
}

/** Events a second, as seen from here: since the page was opened, five minutes at the most. */
class Rate {
  constructor() {
    this.chart = new Chart({ label: "Events a second since this page was opened", height: 130, seconds: true, headed: true });
    this.x = [];
    this.values = [];
    this.last = null;
  }

  take(received) {
    const atMs = Date.now();
    if (this.last === null) this.last = { atMs, received };
    const passedMs = atMs - this.last.atMs;
    if (passedMs < 1000) return;
    this.x.push(Math.round(atMs / 1000));
    this.values.push(Math.max(0, Math.round((1000 * (received - this.last.received)) / passedMs)));
    this.last = { atMs, received };
    while (this.x[0] < atMs / 1000 - RATE_S) {
      this.x.shift();
      this.values.shift();
    }
    this.chart.update({ x: [...this.x], series: [{ label: "received", values: [...this.values] }] });
  }
}

function standing() {
  const workers = new Workers();
  const partitions = partitionsTable();
  const servers = serversTable();
  const total = el("p", {});
  return panel({
    title: "Workers and partitions",
    question: () => "/v1/status",
    everyS: STATUS_S,
    wide: true,
    rem: 30,
    draw(document, body) {
      if (!total.isConnected) {
        const parts = [workers.element, heading("Partitions"), scrolled("Partitions", partitions.element), heading("Servers"), scrolled("Servers", servers.element)];
        body.append(total, ...parts);
      }
      const troubles = document.troubles.map((trouble) => ` ${trouble}.`).join("");
      say(total, `${whole(document.lag)} records wait to be applied, of ${document.sources.length} partitions.${troubles}`);
      workers.see(document.workers);
      partitions.update(document.sources);
      servers.update(document.servers);
    },
  }).section;
}

function heading(text) {
  return el("h3", {}, text);
}

/** The workers that were seen since the page was opened, and what has befallen them. */
class Workers {
  constructor() {
    this.seen = new Map();
    this.list = el("ul", { class: "workers" });
    this.none = el("p", { class: "empty" }, "No worker has a partition. Start one: ", el("code", {}, "marquee worker"));
    this.news = el("ol", { class: "news" });
    const log = el("div", { role: "log", "aria-label": "What happened since this page was opened" }, this.news);
    this.element = el("div", {}, this.none, this.list, log);
    this.first = true;
  }

  see(workers) {
    const now = Date.now();
    const there = new Map(workers.map((worker) => [worker.name, worker]));
    for (const name of new Set([...this.seen.keys(), ...there.keys()])) this.look(name, there.get(name), now);
    this.first = false;
    const shown = [...this.seen.values()].sort((one, other) => one.name.localeCompare(other.name));
    this.none.hidden = shown.length > 0;
    keyed(this.list, shown, (one) => one.name, card, (made, one) => refresh(made, one));
  }

  look(name, worker, now) {
    const before = this.seen.get(name);
    const state = stateOf(worker);
    if (before?.state === state) {
      Object.assign(before, { worker: worker ?? before.worker });
      if (state === "gone" && now - before.since > REMEMBERED_MS) this.seen.delete(name);
      return;
    }
    this.seen.set(name, { name, state, since: now, worker: worker ?? before.worker });
    if (!this.first) this.tell(`${name} ${{ alive: before ? "is back" : "has come", silent: "is silent", gone: "is gone: its partitions are others'" }[state]}`, now);
  }

  tell(text, now) {
    this.news.prepend(el("li", {}, time(now), " ", text));
    while (this.news.children.length > MOST_NEWS) this.news.lastElementChild.remove();
  }
}

function stateOf(worker) {
  if (worker === undefined) return "gone";
  return worker.heard_s !== null && worker.heard_s <= SILENT_S ? "alive" : "silent";
}

function card(one) {
  return el("li", { "data-worker": one.name }, el("strong", {}, one.name), " ", el("span", { class: "chip" }), el("p", {}));
}

function refresh(made, { state, since, worker }) {
  const [, chip, told] = made.children;
  mark(chip, "data-state", { alive: "live", silent: "stale", gone: "cut" }[state]);
  say(chip, state);
  if (state === "gone") return say(told, `since ${clock(since)}`);
  const heard = worker.heard_s === null ? "never heard of" : `heard of ${age(worker.heard_s)} ago`;
  const numbers = worker.partitions.map((one) => one.partition).join(", ");
  return say(told, `${worker.partitions.length} partition${worker.partitions.length === 1 ? "" : "s"} (${numbers}), ${heard}`);
}

/** Who is registered, who leads, and how many workers are wanted. */
function members() {
  const registered = membersTable();
  const told = el("p", {});
  return panel({
    title: "Members",
    lead: "Who has registered with ZooKeeper, or is listed",
    question: () => "/v1/members",
    everyS: MEMBERS_S,
    wide: true,
    rem: 15,
    empty: "Nobody says who is up: set zookeeper.hosts, or list discovery.members.",
    draw(document, body) {
      if (!told.isConnected) body.append(told, scrolled("Members", registered.element));
      say(told, membersLine(document));
      registered.update(document.members);
    },
  }).section;
}

function membersLine({ leader, workers, answers, heard_s }) {
  const running = `${workers.running} worker${workers.running === 1 ? " runs" : "s run"}`;
  const wanted = workers.wanted === null ? "" : `, ${workers.wanted} wanted (${workers.why}, ${clock(workers.ordered_ms)})`;
  const led = leader === null ? "nobody leads" : `${leader.id} leads in epoch ${leader.epoch}, since ${clock(leader.since_ms)}`;
  const old = answers ? "" : ` ZooKeeper does not answer: these are as of ${heard_s === null ? "never" : `${age(heard_s)} ago`}.`;
  return `${running}${wanted}; ${led}.${old}`;
}

function membersTable() {
  const columns = [
    { label: "member", heading: true, value: (row) => row.id },
    { label: "role", value: (row) => row.role },
    { label: "state", value: (row) => (row.vanished_s === null ? (row.leader ? "leads" : "registered") : `vanished ${age(row.vanished_s)} ago`) },
    { label: "address", value: (row) => row.address || NONE },
    { label: "version", value: (row) => row.version || NONE },
    { label: "cores busy", numeric: true, value: (row) => row.load.toFixed(2) },
    { label: "since", node: () => el("time", {}), refresh: (made, row) => setTime(made, row.since_ms || null) },
  ];
  return table("Members: role, address, version and how busy each is", columns, (row) => `${row.role} ${row.id}`);
}

function partitionsTable() {
  const instant = (name) => ({ node: () => el("time", {}), refresh: (made, row) => setTime(made, row[name]) });
  const counted = ["received", ...CLASSES].map((name) => ({ label: name, numeric: true, value: (row) => whole(row[name]) }));
  const columns = [
    { label: "partition", heading: true, value: (row) => `${row.topic || row.source}/${row.partition}` },
    { label: "owner", value: (row) => row.worker ?? NONE },
    { label: "state", value: partitionState },
    { label: "lag", numeric: true, value: (row) => whole(row.lag) },
    { label: "as of", ...instant("as_of_ms") },
    { label: "watermark", ...instant("watermark_ms") },
    ...counted,
    { label: "holds", value: (row) => (row.received === null ? NONE : balanced(row) ? "✓ yes" : "✗ no") },
  ];
  return table("Each partition: who works on it, how far it is, and what became of its events", columns, (row) => row.source);
}

function partitionState(row) {
  if (row.ended) return "ended";
  if (row.worker === null) return "nobody's";
  return row.heard_s !== null && row.heard_s <= SILENT_S ? "worked on" : "silent";
}

function serversTable() {
  const columns = [
    { label: "server", heading: true, value: (row) => row.name },
    { label: "state", value: (row) => (row.ok ? "✓ up" : "✗ away") },
    { label: "address", value: (row) => row.address },
    { label: "told", value: (row) => row.detail },
    { label: "answered in", numeric: true, value: (row) => `${whole(row.took_ms)} ms` },
  ];
  return table("Servers", columns, (row) => row.name);
}
