// The theme, before anything is drawn: what the reader chose here, or else what the system prefers.
"use strict";
document.documentElement.dataset.theme = (() => {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  try { return localStorage.getItem("lecture-theme") ?? system; } catch { return system; } // a file may have no storage
})();
