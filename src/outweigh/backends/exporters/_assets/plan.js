/* The charts of a plan: jobs over time, strips of carbon and price, power against capacity, the frontier. Needs d3, Observable
   Plot and charts.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, known, clip, INK, MUTED, LINE, PALETTE, STYLE} = charts;
  const times = data.edges.map((s) => new Date(s * 1000));
  const sites = data.sites.map((site) => site.name);
  // After eight sites colours repeat, names do not.
  const colour = (name) => PALETTE[sites.indexOf(name) % PALETTE.length];
  const left = (width) => (width < 560 ? 84 : 150);
  const ticks = (width) => (width < 560 ? 4 : 9);
  const xScale = {type: "utc", domain: [times[0], times[times.length - 1]], label: null};
  const clock = d3.utcFormat("%H:%M"), day = d3.utcFormat("%-d %b");
  const axisX = (width) => Plot.axisX({
    ticks: ticks(width), tickSize: 4, fill: MUTED, stroke: MUTED, label: null,
    tickFormat: (t) => (t.getUTCHours() || t.getUTCMinutes() ? clock(t) : day(t)),
  });

  const legend = document.getElementById("legend-sites");
  for (const name of sites) {
    const item = document.createElement("li"), swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colour(name);
    item.append(swatch, name);
    legend.append(item);
  }

  function gantt(holder) {
    const width = holder.clientWidth, margin = left(width);
    const names = data.jobs.map((job) => job.name), most = Math.floor(margin / 7.4);
    const at = (s) => new Date(s * 1000);
    const pieces = data.jobs.flatMap((job) => job.pieces.map((piece) => ({...piece, name: job.name})));
    return Plot.plot({
      width, height: 30 + Math.max(names.length * 17, 60), marginLeft: margin, marginRight: 12, marginTop: 8, marginBottom: 22,
      style: STYLE, x: xScale, y: {domain: names, label: null, padding: 0.25},
      marks: [
        Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, most)}),
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

  function strips(key, label, unit, scheme) {
    return (holder) => {
      const width = holder.clientWidth, margin = left(width), most = Math.floor(margin / 7.4);
      const cells = data.sites.flatMap((site) =>
        site[key].map((value, i) => ({site: site.name, x1: times[i], x2: times[i + 1], value})).filter((c) => known(c.value)));
      if (!cells.length) return null;
      // The lowest value keeps some ink, so that a cheap hour is not taken for a missing one.
      const [low, high] = d3.extent(cells, (c) => c.value), reach = high - low || Math.abs(high) || 1;
      return Plot.plot({
        width, height: 64 + sites.length * 18, marginLeft: margin, marginRight: 12, marginTop: 34, marginBottom: 22,
        style: STYLE, x: xScale, y: {domain: sites, label: null, padding: 0.1},
        color: {type: "linear", scheme, domain: [low - reach / 4, high]},
        marks: [
          Plot.text([`${label} (${unit}), ${d3.format(".3~g")(low)} to ${d3.format(".3~g")(high)}`], {
            frameAnchor: "top-left", dy: -20, textAnchor: "start", fill: INK, fontWeight: 600,
          }),
          Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, most)}),
          Plot.barX(cells, {y: "site", x1: "x1", x2: "x2", fill: "value", title: (c) => `${c.site}: ${c.value.toPrecision(3)} ${unit}`}),
          axisX(width),
        ],
      });
    };
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
  keep("chart-carbon", strips("intensity_g_per_kwh", "Carbon intensity", "gCO2e/kWh", "YlOrBr"));
  keep("chart-price", strips("price_per_mwh", "Price", `${data.currency}/MWh`, "PuBu"));
  keep("chart-load", load);
  if (data.frontier) keep("chart-frontier", frontier);
})();
