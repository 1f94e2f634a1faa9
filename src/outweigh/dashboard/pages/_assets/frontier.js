/* The charts of the frontier: one sitting as quality against energy, and the energy of all sittings in order. */
(() => {
  "use strict";
  const {known, clip, INK, MUTED, LINE, PALETTE, STYLE} = ow;
  const FONT = 13;
  const COLOURS = {incumbent: "var(--incumbent)", proposal: "var(--proposal)", alternative: "var(--alternative)"};
  const SYMBOLS = {incumbent: "circle", proposal: "triangle", alternative: "square"};
  const rows = () => (ow.data.tables && ow.data.tables.variants ? ow.data.tables.variants.rows : []);
  const colour = (p, i) => COLOURS[p.role] || PALETTE[i % PALETTE.length];

  const ruler = document.createElement("canvas").getContext("2d");
  const textWidth = (text) => {
    ruler.font = `600 ${FONT}px ${getComputedStyle(document.body).fontFamily}`;
    return ruler.measureText(text).width;
  };

  // Places each label where it covers the least: candidates around the point, scored by overlap with what is drawn.
  function placeLabels(points, x, y, width, height, margin) {
    const taken = points.map((p) => [x(p.x) - 9, y(p.y) - 9, x(p.x) + 9, y(p.y) + 9]);
    for (const p of points) {
      taken.push([x(p.a1 ?? p.x1 ?? p.x), y(p.y) - 3, x(p.a2 ?? p.x2 ?? p.x), y(p.y) + 3]);
      taken.push([x(p.x) - 3, y(p.y2 ?? p.y), x(p.x) + 3, y(p.y1 ?? p.y)]);
    }
    const overlap = (a, b) =>
      Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    for (const p of points) {
      p.label = clip(p.name, width < 520 ? 18 : 32);
      const w = textWidth(p.label), h = FONT + 3;
      let best = null;
      for (const side of [1, -1]) {
        for (const gap of [10, 24]) {
          for (const rise of [-16, 16, -34, 34, -54, 54]) {
            const left = side > 0 ? x(p.x) + gap : x(p.x) - gap - w;
            const box = [left, y(p.y) + rise - h / 2, left + w, y(p.y) + rise + h / 2];
            const outside = Math.max(0, margin.left - box[0]) + Math.max(0, box[2] - width) +
              Math.max(0, margin.top - box[1]) + Math.max(0, box[3] - (height - margin.bottom));
            const cost = taken.reduce((sum, other) => sum + overlap(box, other), 0) + 80 * outside + Math.abs(rise) / 4 + gap / 4;
            if (!best || cost < best.cost) best = {cost, box};
          }
        }
      }
      taken.push(best.box);
      p.labelX = x.invert(best.box[0]);
      p.labelY = y.invert((best.box[1] + best.box[3]) / 2);
    }
  }

  function sitting(holder, width) {
    const own = rows().filter((v) => known(v.quality) && known(v.energy_j));
    if (!own.length) return null;
    const times = ow.data.percent ? 100 : 1;
    const [scale, prefix] = ow.prefix(d3.max(own, (v) => v.energy_j));
    const per = (value, factor) => (known(value) ? value * factor : undefined);
    const points = own.map((v, i) => ({
      name: v.variant, role: v.role, by: v.dominated_by, open: !v.on_frontier, colour: colour(v, i),
      x: v.energy_j / scale, x1: per(v.scatter_low_j, 1 / scale), x2: per(v.scatter_high_j, 1 / scale),
      a1: per(v.energy_low_j, 1 / scale), a2: per(v.energy_high_j, 1 / scale),
      y: v.quality * times, y1: per(v.quality_low, times), y2: per(v.quality_high, times),
    }));
    const narrow = width < 520, height = narrow ? 340 : 420;
    const margin = {top: 34, right: 14, bottom: 46, left: 50};
    const xs = points.flatMap((p) => [p.x, p.x1, p.x2, p.a1, p.a2]).filter(known);
    const ys = points.flatMap((p) => [p.y, p.y1, p.y2]).filter(known);
    const pad = (d3.max(ys) - d3.min(ys) || Math.abs(ys[0]) * 0.02 || 1) * 0.16;
    // Energy starts at zero, so that twice as far is twice as much.
    const xDomain = [Math.min(0, d3.min(xs)), d3.max(xs) * 1.06];
    const yDomain = [d3.min(ys) - pad, Math.min(d3.max(ys) + pad, times === 100 ? 101 : Infinity)];
    const x = d3.scaleLinear(xDomain, [margin.left, width - margin.right]);
    const y = d3.scaleLinear(yDomain, [height - margin.bottom, margin.top]);
    placeLabels(points, x, y, width, height, margin);
    const best = d3.sort(points.filter((p) => !p.open), (p) => p.x);
    const at = new Map(points.map((p) => [p.name, p]));
    const beaten = points.filter((p) => at.has(p.by)).map((p) => ({x1: p.x, y1: p.y, x2: at.get(p.by).x, y2: at.get(p.by).y, name: p.name, by: p.by}));
    const metric = ow.data.sitting.metric || "quality";
    return Plot.plot({
      width, height, marginTop: margin.top, marginRight: margin.right, marginBottom: margin.bottom, marginLeft: margin.left,
      style: STYLE, x: {domain: xDomain, label: null}, y: {domain: yDomain, label: null}, symbol: {type: "identity"},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 6}),
        Plot.axisY({ticks: 6, tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: narrow ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text([times === 100 ? `\u2191 ${metric} (%)` : `\u2191 ${metric}`], {frameAnchor: "top-left", dx: 8 - margin.left, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.text([`energy per ${clip(ow.data.sitting.unit || "unit", 24)} (${prefix}J) \u2192`], {frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
        Plot.line(best, {x: "x", y: "y", stroke: MUTED, strokeWidth: 1.4, strokeDasharray: "5 3", curve: "step-after"}),
        Plot.link(beaten, {x1: "x1", y1: "y1", x2: "x2", y2: "y2", stroke: MUTED, strokeWidth: 1.2, strokeDasharray: "1 3"}),
        Plot.ruleY(points.filter((p) => known(p.a1) && known(p.a2)), {y: "y", x1: "a1", x2: "a2", stroke: "colour", strokeWidth: 1.3}),
        Plot.ruleY(points.filter((p) => known(p.x1) && known(p.x2)), {y: "y", x1: "x1", x2: "x2", stroke: "colour", strokeWidth: 5, strokeOpacity: 0.6}),
        Plot.ruleX(points.filter((p) => known(p.y1) && known(p.y2)), {x: "x", y1: "y1", y2: "y2", stroke: "colour", strokeWidth: 1.8}),
        Plot.dot(points, {
          x: "x", y: "y", r: 6.5, symbol: (p) => SYMBOLS[p.role] || "circle",
          fill: (p) => (p.open ? "var(--paper)" : p.colour), stroke: (p) => (p.open ? p.colour : "var(--paper)"), strokeWidth: (p) => (p.open ? 2.2 : 1.5),
          title: (p) => `${p.name}${p.by ? `, beaten by ${p.by}` : ""}`,
        }),
        Plot.text(points, {x: "labelX", y: "labelY", text: "label", textAnchor: "start", fill: "colour", fontWeight: 600, fontSize: FONT, stroke: "var(--paper)", strokeWidth: 4}),
      ],
    });
  }

  function course(holder, width) {
    const table = ow.data.tables && ow.data.tables.course;
    if (!table || !table.rows.length) return null;
    const [scale, prefix] = ow.prefix(d3.max(table.rows, (r) => r.energy_j));
    const ids = [...new Set(table.rows.map((r) => r.id))];
    const names = [...new Set(table.rows.map((r) => r.variant))];
    const own = table.rows.map((r) => ({
      id: r.id, name: r.variant, role: r.role, open: !r.on_frontier, colour: colour(r, names.indexOf(r.variant)), verdict: r.verdict,
      y: r.energy_j / scale, y1: known(r.energy_low_j) ? r.energy_low_j / scale : undefined, y2: known(r.energy_high_j) ? r.energy_high_j / scale : undefined,
    }));
    const when = new Map(table.rows.map((r) => [r.id, r.created]));
    // Side by side within a release, so that intervals do not hide each other.
    const room = Math.max(1, Math.floor((width - 64) / Math.max(1, ids.length))), step = Math.min(13, room / (names.length + 1));
    const shift = (p) => (names.indexOf(p.name) - (names.length - 1) / 2) * step;
    const byName = d3.group(own, (p) => p.name);
    const narrow = width < 520;
    return Plot.plot({
      width, height: narrow ? 300 : 340, marginTop: 34, marginLeft: 50, marginRight: 14, marginBottom: 54, style: STYLE,
      x: {type: "point", domain: ids, padding: 0.5, label: null}, y: {domain: [0, d3.max(own, (p) => p.y2 ?? p.y) * 1.08], label: null}, symbol: {type: "identity"},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.axisY({ticks: 5, tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({tickSize: 4, fill: MUTED, stroke: MUTED, label: null, lineWidth: 6,
          tickFormat: (id) => (ids.length > (narrow ? 4 : 12) ? id.slice(0, 4) : `${when.get(id).slice(5, 10)}\n${id.slice(0, 8)}`)}),
        Plot.text([`\u2191 energy per unit (${prefix}J)`], {frameAnchor: "top-left", dx: -42, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        ...[...byName].flatMap(([, points]) => [
          Plot.ruleX(points.filter((p) => known(p.y1) && known(p.y2)), {x: "id", y1: "y1", y2: "y2", stroke: "colour", strokeWidth: 1.6, dx: shift(points[0])}),
          Plot.dot(points, {x: "id", y: "y", r: 5.5, symbol: (p) => SYMBOLS[p.role] || "circle", dx: shift(points[0]),
            fill: (p) => (p.open ? "var(--paper)" : p.colour), stroke: (p) => (p.open ? p.colour : "var(--paper)"), strokeWidth: (p) => (p.open ? 2 : 1.2),
            title: (p) => `${p.name}, ${p.verdict}`}),
        ]),
        Plot.text([...byName].map(([name, points]) => points[points.length - 1]).filter(() => ids.length * names.length <= 24), {
          x: "id", y: "y", dx: step * names.length / 2 + 4, text: (p) => clip(p.name, 16), textAnchor: "start", fill: "colour", fontWeight: 600, stroke: "var(--paper)", strokeWidth: 4,
        }),
      ],
    });
  }

  ow.chart("frontier", sitting);
  ow.chart("course", course);
})();
