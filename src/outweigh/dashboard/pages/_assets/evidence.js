/* Evidence: energy by grade, and how old the tables are. */
(() => {
  "use strict";
  const {known, INK, MUTED, LINE, STYLE} = ow;
  const COLORS = {A: "var(--pass)", B: "var(--pass)", C: "var(--inconclusive)", D: "var(--fail)"};

  ow.chart("grades", (holder, width) => {
    // Bars of two scopes are never one bar: a node's energy holds its package's.
    const all = ow.data.tables.grades.rows;
    const several = new Set(all.map((row) => row.scope)).size > 1;
    const rows = all.map((row) => ({...row, bar: several ? `${row.scope} ${row.grade}` : row.grade}));
    const left = several ? 20 + 7 * d3.max(rows, (row) => row.bar.length) : 28;
    const most = d3.max(rows, (row) => row.energy_j || 0);
    if (!most) return null;
    const [factor, letter] = ow.prefix(most / 3600);
    const per = 3600 * factor;
    return Plot.plot({
      width, height: 50 + 30 * rows.length, marginLeft: left, marginTop: 6, marginBottom: 40, marginRight: 20, style: STYLE,
      x: {label: null}, y: {domain: rows.map((row) => row.bar), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.barX(rows.filter((row) => known(row.energy_j)), {y: "bar", x: (row) => row.energy_j / per, fill: (row) => COLORS[row.grade]}),
        Plot.text(rows.filter((row) => !known(row.energy_j)), {y: "bar", x: 0, dx: 4, textAnchor: "start", text: () => "no receipt", fill: MUTED}),
        Plot.axisY({tickSize: 0, fill: INK, label: null, fontWeight: 600}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text([`energy (${letter}Wh) \u2192`], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
      color: {type: "identity"},
    });
  });

  ow.chart("ages", (holder, width) => {
    const rows = ow.data.tables.sources.rows.filter((row) => known(row.age_s));
    if (!rows.length) return null;
    const left = width < 520 ? 120 : 150;
    return Plot.plot({
      width, height: 50 + 20 * rows.length, marginLeft: left, marginTop: 6, marginBottom: 40, marginRight: 20, style: STYLE,
      x: {label: null, zero: true}, y: {domain: rows.map((row) => row.name), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.barX(rows, {y: "name", x: (row) => row.age_s / 86400, fill: (row) => (row.state === "old" ? "var(--inconclusive)" : "var(--hum)")}),
        Plot.axisY({tickSize: 0, fill: INK, label: null}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text(["days since it was taken \u2192"], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
      color: {type: "identity"},
    });
  });
})();
