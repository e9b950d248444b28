// The token that the API wants where not everybody may ask: a form for it when it is missing or holds no longer, and the way to forget it.

import { ACCESS, ask, hasToken, keepToken, Problem } from "./api.js";
import { el, say } from "./dom.js";

const COMMAND = "marquee token make dashboard --scope read --scope operate";
const REFUSED = "This token is not known here, or it has been revoked.";
const NOT_KEPT = "This browser keeps nothing for this page, not even while it is open; so it cannot keep a token.";
const FREE = {
  loopback: "No token is needed here: only this machine is served.",
  open: "No token is needed here: api.access is open.",
};

/** Shows the form in `main`, in place of the page, once the API answers 401; and in `place` how it is asked. */
export function watchAccess(main, place) {
  if (ACCESS !== "tokens") {
    say(place, FREE[ACCESS] ?? "");
    return;
  }
  if (hasToken()) place.append("The API is asked with the token of this tab. ", el("button", { type: "button", onclick: forget }, "Forget the token"));
  addEventListener("unauthorized", () => {
    if (main.dataset.locked !== undefined) return;
    main.dataset.locked = "";
    const form = new TokenForm();
    main.append(form.element);
    if (hasToken()) say(form.problem, REFUSED);
    keepToken(null);
    place.replaceChildren();
    if (document.activeElement === document.body) form.input.focus();
  });
}

function forget() {
  keepToken(null);
  location.reload();
}

/** Asks for a token, tries it, keeps it and opens the page again. */
class TokenForm {
  constructor() {
    // without a name it is never part of an address, whatever becomes of the form
    this.input = el("input", { id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-kept" });
    this.problem = el("p", { class: "problem", role: "alert" });
    this.element = el(
      "section",
      { class: "panel token", "aria-labelledby": "token-heading" },
      el("h2", { id: "token-heading" }, "A token is needed here"),
      el("p", {}, "It says who asks. With the scope ", el("b", {}, "read"), " all pages work, but for the workers and partitions of Pipeline, which need ", el("b", {}, "operate"), ". Who runs Marquee makes one:"),
      el("p", {}, el("code", {}, COMMAND)),
      el("form", { class: "controls", onsubmit: (event) => this.submitted(event) }, el("span", {}, el("label", { for: "token" }, "Token"), this.input), el("button", { type: "submit" }, "Use it")),
      el("p", { class: "soft", id: "token-kept" }, "It is kept in this tab, until that is closed or told to forget it, and goes nowhere but to this server, in a header."),
      this.problem,
    );
  }

  async submitted(event) {
    event.preventDefault();
    say(this.problem, "");
    const text = this.input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(text)) return say(this.problem, REFUSED); // nothing else can stand in a header
    const kept = keepToken(text);
    try {
      await ask("/v1/views");
      if (kept) return location.reload();
      say(this.problem, NOT_KEPT);
    } catch (error) {
      const told = error instanceof Problem ? `${error.title}: ${error.message}.` : "The server is not reached. Is it running?";
      say(this.problem, error.status === 401 ? REFUSED : told);
    }
    keepToken(null);
  }
}
