// Asking the API: its answers, what it says instead of one, and the token that it is asked with where it wants one.

const PATIENCE_MS = 20_000;
const KEY = "marquee-token";

/** Who may ask here: "tokens" who has one; "loopback" and "open" everybody. The server writes it into each page. */
export const ACCESS = document.querySelector('meta[name="access"]')?.content ?? "open";

let token = kept();

function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is refused to this page
  }
}

/** Whether this tab has a token. */
export function hasToken() {
  return token !== null;
}

/** Keeps a token for this tab, for as long as it is open; null forgets it. False when the browser keeps nothing for this page. */
export function keepToken(text) {
  token = text;
  try {
    if (text === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, text);
    return true;
  } catch {
    return false;
  }
}

/** A token goes into a header, never into an address; where none is needed none is sent, since a wrong one is refused there too. */
function authorization() {
  return ACCESS === "tokens" && token !== null ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * The API's response, which is ok. Throws a Problem when the server says one, TypeError or DOMException when it is not reached.
 * Who is to say who they are is told by the event "unauthorized" too.
 */
export async function fetched(address, { accept, headers = {}, cache = "no-cache", signal }) {
  const response = await fetch(address, { headers: { Accept: accept, ...headers, ...authorization() }, cache, signal });
  if (response.ok) return response;
  const problem = await Problem.of(response);
  if (problem.status === 401) dispatchEvent(new Event("unauthorized"));
  throw problem;
}

/** One JSON document of the API. Throws as `fetched`. */
export async function ask(address) {
  return (await fetched(address, { accept: "application/json", signal: AbortSignal.timeout(PATIENCE_MS) })).json();
}

/** What the server said instead of an answer: `message` tells what to do. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail);
    this.status = status;
    this.title = title;
  }

  /** Of a response that is not ok. */
  static async of(response) {
    const said = await response.json().catch(() => ({}));
    return new Problem(response.status, said.title ?? response.statusText, said.detail ?? `the server answered ${response.status}`);
  }

  /** Whether asking again can help: what was asked wrongly stays wrong. */
  get passing() {
    return this.status >= 500 || this.status === 429;
  }
}
