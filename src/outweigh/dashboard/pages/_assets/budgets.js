/* The charts of budgets: what is left of each line over its period, and how full each limit is. */
(() => {
  "use strict";
  const {known, clip, INK, MUTED, LINE, STYLE} = ow;
  const COLOUR = {ok: "var(--pass)", warning: "var(--inconclusive)", breached: "var(--fail)"};
  const at = (s) => new Date(s * 1000);
  const Wh = (joules) => joules / 3600;

  function line(one, width) {
    const [scale, prefix] = ow.prefix(Wh(one.limit_j));
    const y = (joules) => Wh(joules) / scale;
    const points = one.at_s.map((s, i) => ({t: at(s), left: y(one.left_j[i])}));
    const low = Math.min(0, d3.min(points, (p) => p.left), y(one.left_low_j));
    const last = points[points.length - 1], colour = COLOUR[one.state] || INK;
    const mark = known(one.exhausted_s) ? at(one.exhausted_s) : null;
    const early = known(one.earliest_s) ? at(one.earliest_s) : null;
    const late = known(one.latest_s) ? at(one.latest_s) : early && at(one.end_s);
    const height = 210;
    const said = mark ? `used up ${d3.utcFormat("%-d %b")(mark)}` : clip(one.forecast_why, Math.floor(width / 7.5));
    return Plot.plot({
      width, height, marginTop: 40, marginLeft: 46, marginRight: 14, marginBottom: 26, style: STYLE,
      x: {type: "utc", domain: [at(one.start_s), at(one.end_s)], label: null},
      y: {domain: [low * 1.05, y(one.limit_j) * 1.04], label: null},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 4}),
        Plot.axisY({ticks: 4, tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: width < 420 ? 4 : 6, tickSize: 4, fill: MUTED, stroke: MUTED, label: null, tickFormat: d3.utcFormat("%-d %b")}),
        Plot.text([clip(one.line, Math.floor(width / 12))], {frameAnchor: "top-left", dx: -38, dy: -34, textAnchor: "start", fill: INK, fontWeight: 600, fontSize: 14}),
        Plot.text([`\u2191 left (${prefix}Wh)`], {frameAnchor: "top-left", dx: -38, dy: -16, textAnchor: "start", fill: MUTED}),
        Plot.text([said], {frameAnchor: "top-right", dx: 6, dy: -16, textAnchor: "end", fill: mark ? colour : MUTED, fontWeight: mark ? 600 : 400}),
        Plot.line([{t: at(one.start_s), v: y(one.limit_j)}, {t: at(one.end_s), v: 0}], {x: "t", y: "v", stroke: MUTED, strokeDasharray: "4 4"}),
        Plot.areaY(points, {x: "t", y1: low, y2: "left", fill: colour, fillOpacity: 0.14}),
        Plot.ruleY([0], {stroke: INK, strokeOpacity: 0.5}),
        mark && last ? Plot.line([{t: last.t, v: last.left}, {t: mark, v: 0}], {x: "t", y: "v", stroke: colour, strokeWidth: 1.5, strokeDasharray: "2 3"}) : null,
        early ? Plot.ruleY([0], {x1: () => early, x2: () => late, stroke: colour, strokeWidth: 6, strokeOpacity: 0.45}) : null,
        mark ? Plot.dot([mark], {x: (d) => d, y: () => 0, r: 5.5, fill: colour, stroke: "var(--paper)", strokeWidth: 1.5}) : null,
        Plot.line(points, {x: "t", y: "left", stroke: colour, strokeWidth: 2.2}),
        last ? Plot.ruleX([last], {x: "t", y1: () => y(one.left_low_j), y2: () => y(one.left_high_j), stroke: colour, strokeWidth: 2}) : null,
        last ? Plot.dot([last], {x: "t", y: "left", r: 4, fill: colour, title: () => `${one.line}: ${ow.energy(one.left_j[one.left_j.length - 1])} left`}) : null,
      ],
    });
  }

  function burn(holder, width) {
    const lines = ow.data.burn || [];
    if (!lines.length) return null;
    const across = lines.length > 1 && width > 900 ? (lines.length > 2 && width > 1150 ? 3 : 2) : 1, gap = 28;
    const box = document.createElement("div");
    box.style.cssText = `display: grid; grid-template-columns: repeat(${across}, minmax(0, 1fr)); gap: 18px ${gap}px`;
    const each = Math.floor((width - (across - 1) * gap) / across);
    for (const one of lines) box.append(line(one, each));
    return box;
  }

  function fill(holder, width) {
    const table = ow.data.tables && ow.data.tables.fill;
    const rows = table ? table.rows.filter((r) => known(r.share)).map((r) => ({...r, name: `${r.line}: ${r.what}`})) : [];
    if (!rows.length) return null;
    const margin = width < 560 ? 120 : 210;
    const top = Math.max(1.08, Math.min(2.5, d3.max(rows, (r) => r.share) * 1.12));
    return Plot.plot({
      width, height: 44 + rows.length * 30, marginLeft: margin, marginRight: 64, marginTop: 8, marginBottom: 28, style: STYLE,
      x: {domain: [0, top], label: null}, y: {domain: rows.map((r) => r.name), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, Math.floor(margin / 7.2))}),
        Plot.axisX({ticks: width < 520 ? 3 : 6, tickSize: 4, fill: MUTED, stroke: MUTED, label: null, tickFormat: "~%"}),
        Plot.barX(rows, {x1: 0, x2: (r) => Math.min(r.share, top), y: "name", fill: (r) => COLOUR[r.state] || INK, fillOpacity: 0.85}),
        Plot.tickX(rows, {x: "warn_at", y: "name", stroke: "var(--inconclusive)", strokeWidth: 2}),
        Plot.ruleX([1], {stroke: INK, strokeWidth: 1.5}),
        Plot.text(rows, {x: (r) => Math.min(r.share, top), y: "name", dx: 6, textAnchor: "start", fill: INK, text: (r) => (r.share < 10 ? d3.format(".0%")(r.share) : `${d3.format(".2~s")(r.share)} times`), stroke: "var(--paper)", strokeWidth: 3}),
      ],
    });
  }

  ow.chart("burn", burn);
  ow.chart("fill", fill);
})();
