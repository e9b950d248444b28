// Opens the page that the address names. Each page is a module with TITLE and open(main).

import { watchAccess } from "./access.js";
import { el, say } from "./dom.js";
import { watchConnection } from "./feed.js";
import { clock } from "./format.js";
import { watchStandstill } from "./panel.js";

const PAGES = { "/": "now", "/title": "title", "/quality": "quality", "/pipeline": "pipeline", "/explore": "explore" };

const main = document.getElementById("content");
const connection = document.getElementById("connection");

for (const link of document.querySelectorAll("nav a")) {
  if (new URL(link.href).pathname === location.pathname) link.setAttribute("aria-current", "page");
}

let cut = false;
let stillMs = null;

function tellStanding() {
  connection.className = cut ? "cut" : stillMs !== null ? "still" : "";
  const still = stillMs !== null ? `The numbers stand still since ${clock(stillMs)}: not every partition is worked on. Pipeline shows which.` : "";
  say(connection, cut ? "Cut off from the server; trying again. What is shown is as of when it says." : still);
}

watchConnection((is) => {
  cut = is;
  tellStanding();
});
watchStandstill((since) => {
  stillMs = since;
  tellStanding();
});

watchAccess(main, document.getElementById("access"));

const name = PAGES[location.pathname] ?? "now";
try {
  const page = await import(`./pages/${name}.js`);
  document.title = `${page.TITLE} · Marquee`;
  main.append(el("h1", {}, page.TITLE));
  await page.open(main);
  main.dataset.open = name;
} catch (error) {
  if (error.status !== 401) {
    const told = `This page could not be opened (${error.message}). Load it again; if that does not help, see the server's log.`;
    main.append(el("p", { class: "problem", role: "alert" }, told));
    throw error;
  } // else the token is asked for
}
