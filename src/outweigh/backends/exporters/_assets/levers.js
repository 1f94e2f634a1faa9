/* The charts of an abatement curve: cost per tonne over tonnes avoided, and what is left after each lever. Needs d3,
   Observable Plot and charts.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, clip, INK, MUTED, LINE, STYLE} = charts;
  const t = (grams) => grams / 1e6;
  const steps = data.steps.map((s) => ({...s, x1: t(s.before_carbon_g), x2: t(s.before_carbon_g + s.carbon_g)}));
  const colour = (s) => (s.measured ? "var(--pass)" : "var(--work)");

  function curve(holder) {
    const width = holder.clientWidth;
    if (!steps.length) return null;
    const top = d3.max(steps, (s) => Math.max(s.gross_per_tonne, 0)) || 1;
    const low = Math.min(0, d3.min(steps, (s) => s.net_per_tonne));
    const named = steps.filter((s) => (s.x2 - s.x1) / steps[steps.length - 1].x2 * width > 34);
    return Plot.plot({
      width, height: 360, marginLeft: 64, marginRight: 12, marginTop: 34, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, steps[steps.length - 1].x2]}, y: {label: null, domain: [low * 1.08, top * 1.15], nice: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}),
        Plot.axisY({tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.rect(steps, {x1: "x1", x2: "x2", y1: 0, y2: (s) => Math.max(s.gross_per_tonne, (top - low) * 0.006), fill: colour,
          fillOpacity: (s) => (s.measured ? 0.9 : 0.35), stroke: colour, strokeDasharray: (s) => (s.measured ? null : "4 3"), insetLeft: 0.5, insetRight: 0.5,
          title: (s) => `${s.name}: ${d3.format(",.3~r")(s.x2 - s.x1)} t at ${d3.format(",.0f")(s.gross_per_tonne)} ${data.currency}/t, net ${d3.format(",.0f")(s.net_per_tonne)}`}),
        Plot.ruleY([0], {stroke: INK}),
        Plot.dot(steps, {x: (s) => (s.x1 + s.x2) / 2, y: "net_per_tonne", r: 4.5, fill: colour, stroke: "var(--paper)", strokeWidth: 1.5}),
        Plot.text(named, {x: (s) => (s.x1 + s.x2) / 2, y: (s) => Math.max(s.gross_per_tonne, 0), dy: -8,
          text: (s) => clip(s.name, Math.max(3, Math.floor((s.x2 - s.x1) / steps[steps.length - 1].x2 * width / 7))), fill: INK}),
        Plot.text([`\u2191 ${data.currency} per tonne`], {frameAnchor: "top-left", dx: -56, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.text(["tonnes avoided a year \u2192"], {frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  }

  function left(holder) {
    const width = holder.clientWidth, margin = width < 560 ? 110 : 210, all = t(data.base.carbon_g);
    const rows = [{name: "do nothing", left: all, measured: true, base: true},
      ...steps.map((s) => ({name: s.name, left: all - s.x2, measured: s.measured}))];
    return Plot.plot({
      width, height: 52 + rows.length * 28, marginLeft: margin, marginRight: 48, marginTop: 8, marginBottom: 42, style: STYLE,
      x: {label: null, domain: [0, all]}, y: {domain: rows.map((r) => r.name), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}),
        Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, Math.floor(margin / 7.3))}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.barX(rows, {x: "left", y: "name", fill: (r) => (r.base ? "var(--incumbent)" : colour(r)), fillOpacity: (r) => (r.measured ? 0.9 : 0.4)}),
        Plot.text(rows, {x: "left", y: "name", text: (r) => d3.format(",.3~r")(r.left), dx: 6, textAnchor: "start", fill: INK}),
        Plot.text(["tonnes a year left, with this lever and those above \u2192"], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  }

  keep("chart-curve", curve);
  keep("chart-left", left);
})();
