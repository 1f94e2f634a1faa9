/* The chosen colours, before anything is painted. */
(() => {
  "use strict";
  try {
    const chosen = localStorage.getItem("outweigh-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (refused) {
    // A browser that keeps nothing follows the system's colours.
  }
})();
