/* What the charts of every page share: the page's data, its colours as CSS variables (so that light, dark and print
   follow the page without drawing again), and drawing again when the room changes. */
const charts = (() => {
  "use strict";
  const INK = "var(--ink)", MUTED = "var(--muted)", LINE = "var(--line)";
  // Okabe and Ito's palette, told apart with any colour vision.
  const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7a00", "#7a7a7a"];
  const STYLE = {fontSize: "12.5px", background: "transparent", color: INK, overflow: "visible"};
  const known = (value) => value !== null && value !== undefined;
  const clip = (text, most) => (text.length > most ? text.slice(0, most - 1) + "\u2026" : text);

  function keep(id, draw) {
    const holder = document.getElementById(id);
    if (!holder) return;
    let last = 0;
    const redraw = () => {
      const width = holder.clientWidth;
      if (!width || width === last) return;
      last = width;
      const chart = draw(holder);
      // The holder says what the picture shows; Plot's names of its marks ("rule") would only be noise in it.
      chart?.querySelectorAll("g[aria-label]").forEach((mark) => mark.removeAttribute("aria-label"));
      holder.replaceChildren(...(chart ? [chart] : []));
    };
    redraw();
    new ResizeObserver(redraw).observe(holder);
  }

  const data = JSON.parse(document.getElementById("page-data").textContent);
  return {data, keep, known, clip, INK, MUTED, LINE, PALETTE, STYLE};
})();
