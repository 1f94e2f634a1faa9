/* The charts of a run: the carbon of every site, its jobs below with their plans behind them, and what was saved. Needs
   d3, Observable Plot, charts.js and timetable.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, known, clip, INK, MUTED, LINE, STYLE} = charts;
  const {at, colour, left, right, xScale, axisX} = timetable;
  timetable.legend("legend-sites");

  function gantt(holder) {
    const width = holder.clientWidth, margin = left(width), row = 18;
    const keys = data.jobs.map((job) => job.key), names = new Map(data.jobs.map((job) => [job.key, job.name]));
    const stints = data.jobs.flatMap((job) => job.stints.map((stint) => ({...stint, key: job.key, name: job.name})));
    const late = data.jobs.filter((job) => job.late);
    const clock = d3.utcFormat("%-d %b %H:%M");
    return Plot.plot({
      width, height: 30 + Math.max(keys.length * row, 60), marginLeft: margin, marginRight: right, marginTop: 8, marginBottom: 22,
      style: STYLE, x: xScale, y: {domain: keys, label: null, padding: 0.18},
      marks: [
        Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (key) => clip(names.get(key), Math.floor(margin / 7.4))}),
        Plot.ruleY(data.jobs, {y: "key", x1: (j) => at(j.release), x2: (j) => at(j.deadline), stroke: LINE, strokeWidth: 2}),
        Plot.barX(data.jobs, {
          y: "key", x1: (j) => at(j.planned.start), x2: (j) => at(j.planned.end), fill: "none",
          stroke: (j) => colour(j.planned.site), strokeWidth: 1,
        }),
        Plot.barX(stints, {
          y: "key", x1: (s) => at(s.start), x2: (s) => at(s.end), fill: (s) => colour(s.site), insetTop: 3, insetBottom: 3,
          title: (s) => `${s.name} at ${s.site}, ${clock(at(s.start))} to ${clock(at(s.end))}`,
        }),
        Plot.tickX(data.jobs, {
          y: "key", x: (j) => at(j.deadline), stroke: (j) => (j.late ? "var(--fail)" : MUTED), strokeWidth: (j) => (j.late ? 3 : 1),
        }),
        Plot.text(late, {
          y: "key", x: (j) => at(Math.max(j.deadline, j.planned.end, ...j.stints.map((s) => s.end))), text: () => "late", dx: 5,
          textAnchor: "start", fill: "var(--fail)", stroke: "var(--paper)", strokeWidth: 3, fontWeight: 600,
        }),
        axisX(width),
      ],
    });
  }

  function savings(holder) {
    const width = holder.clientWidth, narrow = width < 560;
    const rows = data.savings.map((s) => ({what: s.what, v: 100 * s.share, a: known(s.low) ? 100 * s.low : null, b: known(s.high) ? 100 * s.high : null}));
    const tone = (r) => (!known(r.a) || (r.a <= 0 && r.b >= 0) ? "var(--inconclusive)" : r.v < 0 ? "var(--fail)" : "var(--pass)");
    const margin = narrow ? 12 : 250;
    const sides = rows.flatMap((r) => [r.v, r.a, r.b]).filter(known);
    const x = {domain: [Math.min(0, ...sides), Math.max(0, ...sides) || 1], nice: true, label: null};
    return Plot.plot({
      width, height: 64 + rows.length * (narrow ? 48 : 34), marginLeft: margin, marginRight: 28, marginTop: 8, marginBottom: 42, style: STYLE,
      x, y: {domain: rows.map((r) => r.what), label: null, padding: 0.4, axis: null},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}),
        Plot.ruleX([0], {stroke: MUTED, strokeWidth: 1.5}),
        narrow
          ? Plot.text(rows, {y: "what", frameAnchor: "left", text: "what", dy: -17, textAnchor: "start", fill: INK, stroke: "var(--paper)", strokeWidth: 4})
          : Plot.axisY({tickSize: 0, fill: INK, label: null}),
        Plot.axisX({ticks: narrow ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.ruleY(rows.filter((r) => known(r.a)), {y: "what", x1: "a", x2: "b", stroke: tone, strokeWidth: 3, strokeOpacity: 0.6}),
        Plot.dot(rows, {y: "what", x: "v", r: 6, fill: tone, stroke: "var(--paper)", strokeWidth: 1.5}),
        Plot.text(["saved (%), 95 % interval \u2192"], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  }

  keep("chart-carbon", timetable.carbon);
  keep("chart-gantt", gantt);
  if (data.savings.length) keep("chart-savings", savings);
})();
