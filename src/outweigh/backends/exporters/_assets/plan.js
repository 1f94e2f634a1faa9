/* The charts of a plan: jobs over time, strips of carbon and price, power against capacity, the frontier. Needs d3, Observable
   Plot, charts.js and timetable.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, known, clip, INK, MUTED, LINE, STYLE} = charts;
  const {at, times, sites, colour, left, xScale, axisX, axisNames} = timetable;
  timetable.legend("legend-sites");

  function gantt(holder) {
    const width = holder.clientWidth, margin = left(width);
    const names = data.jobs.map((job) => job.name);
    const pieces = data.jobs.flatMap((job) => job.pieces.map((piece) => ({...piece, name: job.name})));
    return Plot.plot({
      width, height: 30 + Math.max(names.length * 17, 60), marginLeft: margin, marginRight: 12, marginTop: 8, marginBottom: 22,
      style: STYLE, x: xScale, y: {domain: names, label: null, padding: 0.25},
      marks: [
        axisNames(margin),
        Plot.ruleY(data.jobs, {y: "name", x1: (j) => at(j.release), x2: (j) => at(j.deadline), stroke: LINE, strokeWidth: 2}),
        Plot.tickX(data.jobs, {y: "name", x: (j) => at(j.deadline), stroke: MUTED, strokeWidth: 1}),
        Plot.barX(pieces, {
          y: "name", x1: (p) => at(p.start), x2: (p) => at(p.end), fill: (p) => colour(p.site), insetRight: 0.4,
          title: (p) => `${p.name} at ${p.site}, ${(p.power_w / 1000).toPrecision(3)} kW`,
        }),
        axisX(width),
      ],
    });
  }

  function load(holder) {
    const width = holder.clientWidth, margin = left(width);
    const rows = data.sites.flatMap((site) => site.load_kw.map((kw, i) => ({site: site.name, x1: times[i], x2: times[i + 1], kw})));
    const limits = data.sites.filter((site) => known(site.capacity_kw)).flatMap((site) =>
      site.capacity_kw.map((kw, i) => ({site: site.name, x: times[i], kw})));
    return Plot.plot({
      width, height: 40 + sites.length * 92, marginLeft: margin, marginRight: 12, marginTop: 12, marginBottom: 24,
      style: STYLE, x: xScale, y: {label: null, nice: true, zero: true}, fy: {domain: sites, label: null, padding: 0.18},
      marks: [
        Plot.axisFy({anchor: "left", dx: -34, fill: INK, label: null, fontWeight: 600, tickFormat: (name) => clip(name, Math.floor((margin - 34) / 7.2))}),
        Plot.rect(rows, {fy: "site", x1: "x1", x2: "x2", y1: 0, y2: "kw", fill: (r) => colour(r.site)}),
        Plot.lineY(limits, {fy: "site", x: "x", y: "kw", stroke: INK, strokeDasharray: "4 3", curve: "step-after"}),
        Plot.axisY({ticks: 3, tickSize: 0, fill: MUTED, label: null}),
        Plot.ruleY([0], {stroke: MUTED}),
        axisX(width),
      ],
    });
  }

  function frontier(holder) {
    const width = holder.clientWidth, points = data.frontier;
    const dots = [...points.map((p) => ({...p, kind: "plan"})), ...(data.now ? [{...data.now, kind: "now"}] : [])];
    return Plot.plot({
      width, height: width < 520 ? 320 : 380, marginTop: 34, marginRight: 24, marginBottom: 46, marginLeft: 64, style: STYLE,
      x: {label: null, nice: true}, y: {label: null, nice: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}),
        Plot.axisY({tickSize: 0, fill: MUTED, label: null, tickFormat: "~s"}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null, tickFormat: "~s"}),
        Plot.text([`\u2191 cost (${data.currency})`], {frameAnchor: "top-left", dx: -56, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.text(["carbon (kgCO2e) \u2192"], {frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
        Plot.line(d3.sort(points, (p) => p.carbon_kg), {x: "carbon_kg", y: "cost", stroke: MUTED, strokeDasharray: "4 3"}),
        Plot.dot(dots, {x: "carbon_kg", y: "cost", r: (p) => (p.chosen ? 8 : 5.5), fill: (p) => (p.kind === "now" ? "var(--fail)" : "var(--incumbent)"), stroke: "var(--paper)", strokeWidth: 1.5}),
        Plot.text(dots, {
          x: "carbon_kg", y: "cost", dy: -13, fill: INK, stroke: "var(--paper)", strokeWidth: 4,
          text: (p) => (p.kind === "now" ? "start now, at home" : `${p.carbon_price_per_tonne} ${data.currency}/t`),
        }),
      ],
    });
  }

  keep("chart-gantt", gantt);
  keep("chart-carbon", timetable.carbon);
  keep("chart-price", timetable.price);
  keep("chart-load", load);
  if (data.frontier) keep("chart-frontier", frontier);
})();
