/* The two charts of the report: quality against energy, and power over time. Needs d3, Observable Plot
   and charts.js, all in this file. */
(() => {
  "use strict";
  const ROLES = {
    incumbent: {color: "var(--incumbent)", symbol: "circle"},
    proposal: {color: "var(--proposal)", symbol: "triangle"},
    alternative: {color: "var(--alternative)", symbol: "square"},
  };
  const {data, keep, known, clip, INK, MUTED, LINE, STYLE} = charts;
  const FONT = 13;

  const ruler = document.createElement("canvas").getContext("2d");
  const textWidth = (text, size, weight) => {
    ruler.font = `${weight || 400} ${size}px ${getComputedStyle(document.body).fontFamily}`;
    return ruler.measureText(text).width;
  };

  // From 0.1 up to 1,000 the plain unit stays, as in the tables.
  const siPrefix = (value) => {
    const size = Math.abs(value);
    if (!size || (size >= 0.1 && size < 1000)) return [1, ""];
    const steps = [[1e-9, "n"], [1e-6, "\u00b5"], [1e-3, "m"], [1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]];
    return steps.filter((step) => size >= step[0]).pop() || steps[0];
  };

  function qualityPoints(scale, percent) {
    const times = percent ? 100 : 1;
    const per = (value, factor) => (known(value) ? value * factor : null);
    return data.variants
      .filter((v) => known(v.quality.value) && known(v.energy_j_per_unit.value))
      .map((v) => ({
        name: v.name,
        role: ROLES[v.role] ? v.role : "alternative",
        frontier: v.on_frontier,
        x: v.energy_j_per_unit.value / scale,
        x1: per(v.energy_j_per_unit.low, 1 / scale),
        x2: per(v.energy_j_per_unit.high, 1 / scale),
        a1: per(v.energy_j_per_unit.absolute_low, 1 / scale),
        a2: per(v.energy_j_per_unit.absolute_high, 1 / scale),
        y: v.quality.value * times,
        y1: per(v.quality.low, times),
        y2: per(v.quality.high, times),
      }));
  }

  // Places each label where it covers the least: candidates around the point, scored by overlap with what is drawn.
  function placeLabels(points, x, y, width, height, margin) {
    const ends = (low, high, at) => [known(low) ? low : at, known(high) ? high : at];
    const obstacles = [];
    for (const p of points) {
      const [xa, xb] = ends(p.x1, p.x2, p.x).map(x), [ya, yb] = ends(p.y1, p.y2, p.y).map(y);
      const [wa, wb] = ends(p.a1, p.a2, p.x).map(x);
      obstacles.push([Math.min(wa, xa), y(p.y) - 3, Math.max(wb, xb), y(p.y) + 3]);
      obstacles.push([x(p.x) - 3, Math.min(ya, yb), x(p.x) + 3, Math.max(ya, yb)]);
      obstacles.push([x(p.x) - 9, y(p.y) - 9, x(p.x) + 9, y(p.y) + 9]);
    }
    const overlap = (a, b) =>
      Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    for (const p of points) {
      const label = clip(p.name, width < 520 ? 20 : 32);
      const w = textWidth(label, FONT, 600), h = FONT + 3;
      let best = null;
      for (const [side, gap] of [[1, 10], [-1, 10], [1, 24], [-1, 24]]) {
        for (const rise of [-16, 16, -34, 34, -54, 54]) {
          const left = side > 0 ? x(p.x) + gap : x(p.x) - gap - w;
          const box = [left, y(p.y) + rise - h / 2, left + w, y(p.y) + rise + h / 2];
          const outside =
            Math.max(0, margin.left + 2 - box[0]) + Math.max(0, box[2] - (width - 2)) +
            Math.max(0, margin.top + 2 - box[1]) + Math.max(0, box[3] - (height - margin.bottom - 2));
          const cost = obstacles.reduce((sum, other) => sum + overlap(box, other), 0) + 60 * outside +
            Math.abs(rise) / 4 + gap / 4 + (side < 0 ? 1 : 0);
          if (!best || cost < best.cost) best = {cost, box};
        }
      }
      obstacles.push(best.box);
      p.label = label;
      p.labelX = x.invert(best.box[0]);
      p.labelY = y.invert((best.box[1] + best.box[3]) / 2);
    }
  }

  function qualityChart(holder) {
    const width = holder.clientWidth;
    const [scale, prefix] = siPrefix(d3.max(data.variants, (v) => v.energy_j_per_unit.value) || 0);
    const points = qualityPoints(scale, data.percent);
    if (!points.length) return null;
    const metric = data.variants[0].quality.metric;
    const narrow = width < 520;
    const height = narrow ? 340 : 400;
    const margin = {top: 34, right: 12, bottom: 46, left: 48};
    const xs = points.flatMap((p) => [p.x, p.x1, p.x2, p.a1, p.a2]).filter(known);
    const ys = points.flatMap((p) => [p.y, p.y1, p.y2]).filter(known);
    const yPad = (d3.max(ys) - d3.min(ys) || Math.abs(ys[0]) * 0.02 || 1) * 0.16;
    // Energy starts at zero, so that twice as far is twice as much.
    const xDomain = [Math.min(0, d3.min(xs)), d3.max(xs) * 1.06];
    const yDomain = [d3.min(ys) - yPad, Math.min(d3.max(ys) + yPad, data.percent ? 100 : Infinity)];
    const x = d3.scaleLinear(xDomain, [margin.left, width - margin.right]);
    const y = d3.scaleLinear(yDomain, [height - margin.bottom, margin.top]);
    placeLabels(points, x, y, width, height, margin);
    const frontier = d3.sort(points.filter((p) => p.frontier), (p) => p.x);
    const color = (p) => ROLES[p.role].color;
    const bars = (test) => points.filter(test);
    return Plot.plot({
      width, height,
      marginTop: margin.top, marginRight: margin.right, marginBottom: margin.bottom, marginLeft: margin.left,
      style: STYLE,
      x: {domain: xDomain, ticks: narrow ? 4 : 8, label: null},
      y: {domain: yDomain, ticks: 6, label: null},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 6}),
        Plot.axisY({ticks: 6, tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: narrow ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text([data.percent ? `\u2191 ${metric} (%)` : `\u2191 ${metric}`], {
          frameAnchor: "top-left", dx: 8 - margin.left, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600,
        }),
        Plot.text([`energy per ${data.unit} (${prefix}J) \u2192`], {
          frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600,
        }),
        Plot.line(frontier, {x: "x", y: "y", stroke: MUTED, strokeWidth: 1.4, strokeDasharray: "4 3", curve: "step-after"}),
        Plot.ruleY(bars((p) => known(p.a1) && known(p.a2)), {y: "y", x1: "a1", x2: "a2", stroke: color, strokeWidth: 1.3}),
        Plot.ruleY(bars((p) => known(p.x1) && known(p.x2)), {y: "y", x1: "x1", x2: "x2", stroke: color, strokeWidth: 5, strokeOpacity: 0.75}),
        Plot.ruleX(bars((p) => known(p.y1) && known(p.y2)), {x: "x", y1: "y1", y2: "y2", stroke: color, strokeWidth: 1.8}),
        Plot.dot(points, {
          x: "x", y: "y", fill: color, r: 6.5, stroke: "var(--paper)", strokeWidth: 1.5,
          symbol: (p) => ROLES[p.role].symbol,
        }),
        Plot.text(points, {
          x: "labelX", y: "labelY", text: "label", textAnchor: "start", fill: color, fontWeight: 600, fontSize: FONT,
          stroke: "var(--paper)", strokeWidth: 4,
        }),
      ],
      symbol: {type: "identity"},
    });
  }

  function traceChart(holder) {
    const trace = data.trace, width = holder.clientWidth;
    const narrow = width < 520;
    const end = d3.max([d3.max(trace.t_s), d3.max(trace.marks, (m) => m.end_s)].filter(known)) || 1;
    const begin = Math.min(0, d3.min(trace.t_s) || 0);
    const most = d3.max(trace.power_w.filter(known)) || 1;
    const margin = {top: 34, right: 12, left: 48};
    const points = trace.t_s.map((t, i) => {
      const total = trace.power_w[i];
      const hum = !known(total) ? NaN : Math.min(known(trace.hum_w) ? trace.hum_w : 0, total);
      return {t, total: known(total) ? total : NaN, hum};
    });
    const splits = known(trace.hum_w);
    const box = document.createElement("div");
    const xTicks = narrow ? 4 : 10;
    box.append(Plot.plot({
      width, height: narrow ? 230 : 280,
      marginTop: margin.top, marginRight: margin.right, marginBottom: 24, marginLeft: margin.left,
      style: STYLE,
      x: {domain: [begin, end]},
      y: {domain: [0, most * 1.08]},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.areaY(points, {x: "t", y1: "hum", y2: "total", fill: "var(--work)", curve: "linear"}),
        splits ? Plot.areaY(points, {x: "t", y1: 0, y2: "hum", fill: "var(--hum)", curve: "linear"}) : null,
        splits ? Plot.ruleY([trace.hum_w], {stroke: INK, strokeWidth: 1, strokeDasharray: "2 3"}) : null,
        Plot.axisY({ticks: 5, tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: xTicks, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text(["\u2191 power (W)"], {
          frameAnchor: "top-left", dx: 8 - margin.left, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600,
        }),
        Plot.ruleY([0], {stroke: MUTED}),
      ],
    }));
    box.append(lanes(trace, width, margin, [begin, end]));
    return box;
  }

  // One lane a label, with its name above it: no legend to look up, and nothing to collide on a small screen.
  function lanes(trace, width, margin, domain) {
    const names = [...new Set(trace.marks.map((mark) => mark.label))];
    const roles = new Map(data.variants.map((v) => [v.name, ROLES[v.role] ? v.role : "alternative"]));
    const row = 32, most = Math.floor((width - margin.left) / 8);
    const color = (name) => (roles.has(name) ? ROLES[roles.get(name)].color : "var(--hum)");
    const bars = trace.marks.map((m) => ({...m, top: names.indexOf(m.label) * row + 18}));
    const height = names.length * row + 48;
    return Plot.plot({
      width, height, marginTop: 12, marginBottom: 36, marginLeft: margin.left, marginRight: margin.right,
      style: STYLE,
      x: {domain, label: null, axis: null},
      y: {domain: [0, names.length * row], range: [12, 12 + names.length * row], axis: null},
      marks: [
        Plot.rect(bars, {x1: "start_s", x2: "end_s", y1: "top", y2: (m) => m.top + 9, fill: (m) => color(m.label), insetRight: 0.6}),
        Plot.text(names, {
          frameAnchor: "left", y: (_, i) => i * row + 9, text: (name) => clip(name, most), textAnchor: "start",
          fill: (name) => (roles.has(name) ? color(name) : MUTED), fontWeight: 600,
        }),
        Plot.text(["seconds since the review began \u2192"], {
          frameAnchor: "bottom-right", dy: 22, textAnchor: "end", fill: INK, fontWeight: 600,
        }),
      ],
    });
  }

  keep("chart-quality", qualityChart);
  if (data.trace) keep("chart-trace", traceChart);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not(.noprint)")) part.open = true;
  });
})();
