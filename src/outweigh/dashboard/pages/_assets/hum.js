/* Hum: power over time, its course by owner, and hum against work by owner. */
(() => {
  "use strict";
  const {known, clip, INK, MUTED, LINE, PALETTE, STYLE} = ow;

  const owners = () => ow.data.charts?.trend.owners || [];
  const color = (owner, all) => PALETTE[all.indexOf(owner) % PALETTE.length];

  ow.chart("power", (holder, width) => {
    const power = ow.data.charts?.power;
    if (!power || !power.t_s.length) return null;
    const narrow = width < 520;
    const points = power.t_s.map((t, i) => ({
      t: new Date(1000 * t),
      ...Object.fromEntries(["min_w", "mean_w", "max_w", "hum_w"].map((name) => [name, known(power[name][i]) ? power[name][i] : NaN])),
    }));
    const [factor, letter] = ow.prefix(d3.max(points, (p) => p.max_w) || 1);
    const per = (name) => (p) => p[name] / factor;
    return Plot.plot({
      width, height: narrow ? 220 : 280, marginTop: 30, marginLeft: 46, marginRight: 10, style: STYLE,
      x: {type: "utc", label: null}, y: {domain: [0, 1.05 * (d3.max(points, (p) => p.max_w) || 1) / factor], label: null},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.areaY(points, {x: "t", y1: per("min_w"), y2: per("max_w"), fill: "var(--work)", fillOpacity: 0.3}),
        Plot.areaY(points, {x: "t", y1: 0, y2: per("hum_w"), fill: "var(--hum)", fillOpacity: 0.85}),
        Plot.lineY(points, {x: "t", y: per("mean_w"), stroke: "var(--work)", strokeWidth: 1.5}),
        Plot.axisY({ticks: 5, tickSize: 0, fill: MUTED, label: null}),
        ow.timeAxis(narrow ? 4 : 9),
        Plot.text([`\u2191 power (${letter}W)`], {frameAnchor: "top-left", dx: -38, dy: -22, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.text(["hum"], {frameAnchor: "bottom-left", dx: 8, dy: -8, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.ruleY([0], {stroke: MUTED}),
      ],
    });
  });

  ow.chart("trend", (holder, width) => {
    const trend = ow.data.charts?.trend;
    if (!trend || !trend.rows.length) return null;
    const narrow = width < 520, all = owners();
    const rows = trend.rows.map((row) => {
      const start = new Date(row.start);
      return {...row, x1: start, x2: new Date(+start + 1000 * trend.step_s)};
    });
    const most = d3.max(d3.rollup(rows, (some) => d3.sum(some, (row) => row.hum_j), (row) => +row.x1).values()) || 1;
    const [factor, letter] = ow.prefix(most / 3600);
    const box = document.createElement("div");
    const legend = document.createElement("ul");
    legend.className = "legend";
    for (const owner of all) {
      const item = document.createElement("li"), swatch = document.createElement("span"), name = document.createElement("bdi");
      swatch.className = "swatch";
      swatch.style.background = color(owner, all);
      name.textContent = clip(owner, 40);
      item.append(swatch, name);
      legend.append(item);
    }
    box.append(legend);
    box.append(Plot.plot({
      width, height: narrow ? 200 : 240, marginTop: 30, marginLeft: 46, marginRight: 10, style: STYLE,
      x: {type: "utc", label: null, domain: [d3.min([new Date(ow.data.since), ...rows.map((row) => row.x1)]), d3.max([...rows.map((row) => row.x2), new Date(ow.data.until)])]},
      y: {label: null},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.rectY(rows, {x1: "x1", x2: "x2", y: (row) => row.hum_j / 3600 / factor, fill: (row) => color(row.owner, all), insetLeft: 0.5, insetRight: 0.5, order: all.length > 1 ? (row) => all.indexOf(row.owner) : null}),
        Plot.axisY({ticks: 5, tickSize: 0, fill: MUTED, label: null}),
        ow.timeAxis(narrow ? 4 : 9),
        Plot.text([`\u2191 hum (${letter}Wh)`], {frameAnchor: "top-left", dx: -38, dy: -22, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.ruleY([0], {stroke: MUTED}),
      ],
      color: {type: "identity"},
    }));
    return box;
  });

  ow.chart("owners", (holder, width) => {
    const rows = (ow.data.tables?.owners.rows || []).filter((row) => known(row.hum_j) && known(row.work_j)).slice(0, 20);
    if (!rows.length) return null;
    const narrow = width < 520, left = narrow ? 96 : 170;
    const [factor, letter] = ow.prefix(d3.max(rows, (row) => row.hum_j + row.work_j) / 3600);
    const per = 3600 * factor;
    return Plot.plot({
      width, height: 52 + 30 * rows.length, marginTop: 8, marginBottom: 40, marginLeft: left, marginRight: 16, style: STYLE,
      x: {label: null, domain: [0, 1.02 * d3.max(rows, (row) => row.hum_j + row.work_j) / per]},
      y: {domain: rows.map((row) => row.owner), label: null, axis: null, padding: 0.28},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.barX(rows, {y: "owner", x1: 0, x2: (row) => row.hum_j / per, fill: "var(--hum)"}),
        Plot.barX(rows, {y: "owner", x1: (row) => row.hum_j / per, x2: (row) => (row.hum_j + row.work_j) / per, fill: "var(--work)"}),
        Plot.ruleY(rows.filter((row) => known(row.hum_low_j)), {y: "owner", x1: (row) => row.hum_low_j / per, x2: (row) => row.hum_high_j / per, stroke: INK, strokeWidth: 1.5}),
        Plot.text(rows, {y: "owner", text: (row) => clip(row.owner, narrow ? 13 : 24), frameAnchor: "left", dx: -left + 2, textAnchor: "start", fill: INK}),
        Plot.axisX({ticks: narrow ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text([`hum, then work (${letter}Wh) \u2192`], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  });
})();
