// Dark or light: the system's unless the viewer has chosen. Not a module, so that it is done before anything is drawn.
"use strict";
(() => {
  const KEY = "marquee-theme";
  const ORDER = ["auto", "dark", "light"];
  const root = document.documentElement;

  function stored() {
    try {
      const found = localStorage.getItem(KEY);
      return ORDER.includes(found) ? found : "auto";
    } catch {
      return "auto"; // storage is refused to this page
    }
  }

  function set(theme) {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button !== null) button.textContent = `Theme: ${theme}`;
    window.dispatchEvent(new Event("theme"));
  }

  function next() {
    const theme = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it holds for this page only
    }
    set(theme);
  }

  set(stored());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.dispatchEvent(new Event("theme")));
  addEventListener("DOMContentLoaded", () => {
    set(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", next);
  });
})();
