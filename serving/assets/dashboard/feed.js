// Answers as they change. A question is pushed while one of the few streams is free, and else asked again and again.
//
//   waiting    nothing is heard yet                 live      pushed: what is shown is the newest there is
//   polling    asked every so often                 cut       the server is not reached; it is tried again
//   failed     it said a problem, which is shown    paused    nobody looks at the page
//
// A browser keeps six connections with a host by HTTP/1.1, all its tabs together. So streams are lent, four at once, by locks that the
// tabs share; where there are no locks (they need HTTPS or loopback) a page has two.

import { ask, Problem } from "./api.js";
import { EventStream } from "./stream.js";

const STREAMS = 4;
const STREAMS_ALONE = 2;
const CUT_S = 2; // who is not reached is tried again so soon

const feeds = new Set();
const watchers = new Set();
let alone = 0;

/** Calls heard(cut) now and whenever it changes: whether any question of the page does not reach the server. */
export function watchConnection(heard) {
  watchers.add(heard);
  heard(false);
}

function connectionChanged() {
  const cut = [...feeds].some((feed) => feed.state === "cut");
  for (const heard of watchers) heard(cut);
}

/**
 * A question that goes on being asked while the page is looked at.
 *
 * addressOf() → its address; called for each asking, so that a span may move on. With `push` it must stay the same.
 * told({ state, document, problem, at }): `document` is the newest answer or null, `at` when it came, by performance.now().
 */
export class Feed {
  constructor(addressOf, told, { push = false, everyS = 5 } = {}) {
    this.addressOf = addressOf;
    this.told = told;
    this.push = push;
    this.everyS = everyS;
    this.state = "waiting";
    this.document = null;
    this.problem = null;
    this.at = 0;
    this.round = 0; // what began in an earlier one is over
    this.free = null; // gives its stream back
    this.source = null;
    this.timer = 0;
  }

  /** Begins, or begins anew. */
  start() {
    this.end();
    feeds.add(this);
    this.tell(document.hidden ? "paused" : "waiting");
    if (!document.hidden) this.begin();
    return this;
  }

  /** Ends for good, or until it is started again. */
  stop() {
    this.end();
    feeds.delete(this);
    connectionChanged();
  }

  end() {
    this.round += 1;
    clearTimeout(this.timer);
    this.source?.close();
    this.free?.();
    this.source = this.free = null;
  }

  async begin() {
    const round = this.round;
    if (this.push) {
      const free = await lend();
      if (round !== this.round) return free?.();
      if (free !== null) {
        this.free = free;
        return this.listen();
      }
    }
    return this.poll(round);
  }

  listen() {
    const [path, query] = this.addressOf().split("?");
    this.source = new EventStream(`${path}/stream${query ? `?${query}` : ""}`, {
      opened: () => {
        if (this.document !== null) this.tell("live"); // nothing is told again that is still so
      },
      event: ({ name, data }) => {
        if (name === "answer") this.take("live", JSON.parse(data));
      },
      lost: () => this.tell("cut"),
      refused: (problem) => {
        this.end();
        if (problem.passing) this.poll(this.round); // there may be too many streams
        else this.fail(problem);
      },
    });
  }

  async poll(round) {
    try {
      const document = await ask(this.addressOf());
      if (round === this.round) this.take("polling", document);
    } catch (error) {
      if (round !== this.round) return;
      if (!(error instanceof Problem)) {
        this.tell("cut");
      } else {
        this.fail(error);
        if (!error.passing) return;
      }
    }
    const waitS = this.state === "cut" ? Math.min(CUT_S, this.everyS) : this.everyS;
    if (round === this.round) this.timer = setTimeout(() => this.begin(), waitS * 1000);
  }

  fail(problem) {
    this.problem = problem;
    this.tell("failed");
  }

  take(state, document) {
    this.document = document;
    this.problem = null;
    this.at = performance.now();
    this.tell(state);
  }

  tell(state) {
    this.state = state;
    if (state === "cut") this.problem = null;
    this.told(this);
    connectionChanged();
  }
}

/** A stream that is free, as the function that gives it back; null when all are taken. */
async function lend() {
  if (navigator.locks === undefined) {
    if (alone >= STREAMS_ALONE) return null;
    alone += 1;
    return () => {
      alone -= 1;
    };
  }
  for (let number = 0; number < STREAMS; number += 1) {
    const free = await locked(`marquee-stream-${number}`);
    if (free !== null) return free;
  }
  return null;
}

function locked(name) {
  return new Promise((resolve) => {
    const holding = navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) return resolve(null);
      return new Promise((free) => resolve(free));
    });
    holding.catch(() => resolve(null)); // the page is being left
  });
}

function pause() {
  for (const feed of feeds) {
    feed.end();
    feed.tell("paused");
  }
}

function resume() {
  for (const feed of feeds) {
    if (feed.state === "paused") feed.start();
  }
}

document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
addEventListener("pagehide", pause);
addEventListener("pageshow", resume);
