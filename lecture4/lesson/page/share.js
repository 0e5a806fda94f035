// A section's "#" copies its address, or shares it on a phone; the browser follows the link, too.
"use strict";
let fading; // of the message
for (const link of document.querySelectorAll(".anchor")) {
  link.addEventListener("click", async () => {
    const shown = { title: document.title, url: link.href };
    try {
      if (matchMedia("(pointer: coarse)").matches && navigator.canShare?.(shown)) {
        await navigator.share(shown);
        return;
      }
      await navigator.clipboard.writeText(link.href);
    } catch { return; } // dismissed, or not permitted here: the address bar shows the address
    const said = document.getElementById("shared");
    said.textContent = "Link copied";
    clearTimeout(fading);
    fading = setTimeout(() => { said.textContent = ""; }, 2000);
  });
}
