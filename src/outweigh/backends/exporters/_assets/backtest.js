/* The charts of a back-test: savings with intervals, week by week, and when energy is drawn. Needs d3, Observable
   Plot and charts.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, known, clip, INK, MUTED, LINE, PALETTE, STYLE} = charts;
  const left = (width) => (width < 560 ? 110 : 210);
  const names = data.policies.map((p) => p.policy);
  const policyAxis = (margin) => Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, Math.floor(margin / 7.3))});

  function savings(holder) {
    const width = holder.clientWidth, margin = left(width);
    const rows = data.policies.filter((p) => known(p.saving_share)).map((p) => ({...p, v: 100 * p.saving_share, a: known(p.saving_low_share) ? 100 * p.saving_low_share : null, b: known(p.saving_high_share) ? 100 * p.saving_high_share : null}));
    const colour = (p) => (p.policy === names[names.length - 1] ? MUTED : p.noise ? "var(--inconclusive)" : p.v < 0 ? "var(--fail)" : "var(--incumbent)");
    return Plot.plot({
      width, height: 60 + names.length * 30, marginLeft: margin, marginRight: 24, marginTop: 8, marginBottom: 42, style: STYLE,
      x: {label: null, nice: true}, y: {domain: names, label: null, padding: 0.4},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}),
        Plot.ruleX([0], {stroke: MUTED}),
        policyAxis(margin),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.ruleY(rows.filter((p) => known(p.a)), {y: "policy", x1: "a", x2: "b", stroke: colour, strokeWidth: 3, strokeOpacity: 0.6}),
        Plot.dot(rows, {y: "policy", x: "v", r: 6, fill: colour, stroke: "var(--paper)", strokeWidth: 1.5}),
        Plot.text(["saving (%) \u2192"], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  }

  function weeks(holder) {
    const width = holder.clientWidth;
    const rows = data.weeks.filter((w) => known(w.saving_share) && w.policy !== names[0]).map((w) => ({...w, t: new Date(w.start), v: 100 * w.saving_share}));
    if (!rows.length) return null;
    return Plot.plot({
      width, height: 300, marginTop: 34, marginLeft: 48, marginRight: 12, marginBottom: 28, style: STYLE,
      x: {type: "utc", label: null}, y: {label: null, nice: true},
      color: {domain: names.slice(1), range: PALETTE, legend: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}),
        Plot.ruleY([0], {stroke: MUTED}),
        Plot.axisY({tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: width < 560 ? 4 : 9, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text(["\u2191 saving of the week (%)"], {frameAnchor: "top-left", dx: -40, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.lineY(rows, {x: "t", y: "v", stroke: "policy", strokeWidth: 1.6}),
      ],
    });
  }

  function hours(holder) {
    const width = holder.clientWidth, margin = left(width);
    const most = new Map(d3.rollup(data.hours, (rows) => d3.max(rows, (r) => r.energy_kwh) || 1, (r) => r.policy));
    const cells = data.hours.map((r) => ({...r, share: r.energy_kwh / most.get(r.policy)}));
    const rates = data.hours.filter((r) => r.policy === names[0] && known(r.mean_rate_per_kwh));
    const box = document.createElement("div");
    box.append(Plot.plot({
      width, height: 110, marginLeft: margin, marginRight: 12, marginTop: 30, marginBottom: 6, style: STYLE,
      x: {domain: d3.range(24), axis: null}, y: {label: null, nice: true},
      marks: [
        Plot.axisY({ticks: 3, tickSize: 0, fill: MUTED, label: null}),
        Plot.text([`${data.currency}/kWh with carbon`], {frameAnchor: "top-left", dy: -22, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.barY(rates, {x: "hour", y: "mean_rate_per_kwh", fill: "var(--work)"}),
        Plot.ruleY([0], {stroke: MUTED}),
      ],
    }));
    box.append(Plot.plot({
      width, height: 40 + names.length * 22, marginLeft: margin, marginRight: 12, marginTop: 4, marginBottom: 26, style: STYLE,
      x: {domain: d3.range(24), label: null}, y: {domain: names, label: null}, color: {type: "linear", scheme: "PuBu", domain: [-0.25, 1]},
      marks: [
        policyAxis(margin),
        Plot.axisX({ticks: d3.range(0, 24, width < 560 ? 6 : 3), tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.cell(cells, {x: "hour", y: "policy", fill: "share", inset: 0.5, title: (c) => `${c.policy}, ${c.hour}:00 UTC: ${c.energy_kwh.toPrecision(3)} kWh`}),
      ],
    }));
    return box;
  }

  keep("chart-savings", savings);
  keep("chart-weeks", weeks);
  keep("chart-hours", hours);
})();
