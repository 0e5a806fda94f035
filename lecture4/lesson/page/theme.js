// The theme, before anything is drawn: what the reader chose here, or else what the system prefers.
"use strict";
document.documentElement.dataset.theme = (() => {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  try { return localStorage.getItem("lecture-theme") ?? system; } catch { return system; } // a file may have no storage
})();
document.addEventListener("click", (event) => {
  if (!event.target.closest("#theme")) return;
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("lecture-theme", theme); } catch { /* it lasts as long as the page */ }
});
