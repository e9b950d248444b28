// A stream of server-sent events (WHATWG HTML, section 9.2), read by fetch: EventSource cannot send a token.

import { fetched, Problem } from "./api.js";

const RETRY_MS = 1000; // until the server says another
const SILENT_MS = 45_000; // a server with nothing to tell says so every 20 s at the latest; one that does not is gone

/**
 * Follows the stream at an address until `close`, as EventSource does: who is cut off comes back, with the id of the last event.
 *
 * told: opened(), event({ name, data }), lost() when it is cut off and will be tried again, refused(problem) when the server does not want
 * it to be, which is the end of it. None of them is called once it is closed.
 */
export class EventStream {
  constructor(address, told) {
    this.address = address;
    this.told = told;
    this.ending = new AbortController();
    this.lastId = "";
    this.retryMs = RETRY_MS;
    this.follow();
  }

  /** Ends it. Twice does nothing more. */
  close() {
    this.ending.abort();
  }

  async follow() {
    const { signal } = this.ending;
    while (!signal.aborted) {
      try {
        await this.read(signal);
      } catch (error) {
        if (!signal.aborted && error instanceof Problem) return this.told.refused(error);
      }
      if (signal.aborted) return;
      this.told.lost();
      await new Promise((done) => setTimeout(done, this.retryMs));
    }
  }

  /** One connection, from its first byte to its last. */
  async read(signal) {
    const silence = new AbortController();
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_MS);
    };
    heard();
    try {
      const headers = this.lastId ? { "Last-Event-ID": this.lastId } : {};
      const response = await fetched(this.address, { accept: "text/event-stream", headers, cache: "no-store", signal: AbortSignal.any([signal, silence.signal]) });
      this.told.opened();
      const parser = new Parser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard();
        const events = parser.take(piece.value);
        this.lastId = parser.id ?? this.lastId;
        this.retryMs = parser.retryMs ?? this.retryMs;
        for (const event of events) if (!signal.aborted) this.told.event(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Events out of a stream's text as it comes, in pieces of any size. id, retryMs: what it said last, null before. */
export class Parser {
  constructor() {
    this.id = null;
    this.retryMs = null;
    this.rest = "";
    this.returned = false; // the last piece ended within or behind a line's end
    this.name = "";
    this.data = [];
  }

  /** The events that are complete with this piece: [{ name, data }]. */
  take(text) {
    if (text === "") return [];
    const further = this.returned && text.startsWith("\n") ? text.slice(1) : text;
    this.returned = text.endsWith("\r");
    const lines = (this.rest + further).split(/\r\n|\n|\r/);
    this.rest = lines.pop();
    return lines.map((line) => this.line(line)).filter((event) => event !== null);
  }

  /** The event that this line completes, or null. */
  line(line) {
    if (line === "") return this.completed();
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line);
    if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  completed() {
    const event = this.data.length ? { name: this.name || "message", data: this.data.join("\n") } : null;
    this.name = "";
    this.data = [];
    return event;
  }
}
