/* Runs: one dot a run, when it started and what it drew. */
(() => {
  "use strict";
  const {known, INK, MUTED, LINE, PALETTE, STYLE} = ow;
  ow.chart("runs", (holder, width) => {
    const rows = (ow.data.tables?.runs.rows || []).filter((row) => known(row.energy_j) && row.energy_j > 0);
    if (rows.length < 2) return null;
    const narrow = width < 520;
    const [factor, letter] = ow.prefix(d3.max(rows, (row) => row.energy_j) / 3600);
    const per = 3600 * factor;
    const names = [...new Set(rows.map((row) => row.what || row.project))];
    const color = (row) => PALETTE[names.indexOf(row.what || row.project) % PALETTE.length];
    const points = rows.map((row) => ({...row, t: new Date(row.start), name: row.what || row.project}));
    const spread = d3.max(points, (p) => p.energy_j) / d3.min(points, (p) => p.energy_j);
    const ends = [d3.min(points, (p) => Math.max(p.energy_low_j || 0, 0.3 * p.energy_j)) / per, d3.max(points, (p) => p.energy_high_j ?? p.energy_j) / per];
    // Of a logarithmic axis the ones, twos and fives: each tick is a line and a figure.
    const ticks = spread > 50 ? d3.scaleLog(ends, [0, 1]).ticks(40).filter((tick) => /^[125]/.test(tick.toExponential())) : 5;
    return Plot.plot({
      width, height: narrow ? 200 : 240, marginTop: 30, marginLeft: 52, marginRight: 12, style: STYLE,
      x: {type: "utc", label: null}, y: spread > 50 ? {type: "log", domain: ends, clamp: true, label: null} : {zero: true, label: null},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks}),
        Plot.ruleX(points.filter((p) => known(p.energy_low_j) && p.energy_low_j > 0), {x: "t", y1: (p) => p.energy_low_j / per, y2: (p) => p.energy_high_j / per, stroke: color, strokeWidth: 1.5}),
        Plot.dot(points, {x: "t", y: (p) => p.energy_j / per, fill: color, r: 4, stroke: "var(--paper)", title: (p) => `${p.name}, ${p.phase}\n${ow.energy(p.energy_j)}, grade ${p.grade}`}),
        Plot.axisY({ticks, tickSize: 0, fill: MUTED, label: null, tickFormat: (value) => value.toLocaleString("en-GB", {maximumSignificantDigits: 6})}),
        ow.timeAxis(narrow ? 3 : 6),
        Plot.text([`\u2191 energy (${letter}Wh)${spread > 50 ? ", logarithmic" : ""}`], {frameAnchor: "top-left", dx: -46, dy: -22, textAnchor: "start", fill: INK, fontWeight: 600}),
      ],
      color: {type: "identity"},
    });
  });
})();
