/* One receipt: energy level by level, and its power trace. */
(() => {
  "use strict";
  const {known, INK, MUTED, LINE, PALETTE, STYLE} = ow;

  ow.chart("waterfall", (holder, width) => {
    const rows = ow.data.tables.energy.rows;
    const most = d3.max(rows, (row) => (known(row.energy_high_j) ? row.energy_high_j : row.energy_j) || 0);
    if (!most) return null;
    const [factor, letter] = ow.prefix(most / 3600);
    const per = 3600 * factor, left = width < 520 ? 104 : 130;
    let inside = 0;
    const bars = rows.map((row) => {
      if (!known(row.energy_j)) return {...row, from: inside};
      const bar = {...row, from: Math.min(inside, row.energy_j), to: row.energy_j};
      inside = row.energy_j;
      return bar;
    });
    const drawn = bars.filter((bar) => known(bar.to));
    return Plot.plot({
      width, height: 58 + 34 * rows.length, marginLeft: left, marginTop: 6, marginBottom: 40, marginRight: 20, style: STYLE,
      x: {label: null, domain: [0, 1.05 * most / per]}, y: {domain: rows.map((row) => row.label), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1, ticks: 5}),
        Plot.barX(drawn, {y: "label", x1: 0, x2: (bar) => bar.from / per, fill: "var(--work)"}),
        Plot.barX(drawn, {y: "label", x1: (bar) => bar.from / per, x2: (bar) => bar.to / per, fill: "var(--work)", fillOpacity: (bar) => (bar.from ? 0.5 : 1)}),
        Plot.ruleY(drawn.filter((bar) => known(bar.energy_low_j)), {y: "label", x1: (bar) => Math.max(0, bar.energy_low_j) / per, x2: (bar) => bar.energy_high_j / per, stroke: INK, strokeWidth: 1.5}),
        Plot.text(bars.filter((bar) => !known(bar.to)), {y: "label", x: 0, dx: 4, textAnchor: "start", text: () => "missing", fill: MUTED}),
        Plot.axisY({tickSize: 0, fill: INK, label: null}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null}),
        Plot.text([`energy (${letter}Wh) \u2192`], {frameAnchor: "bottom-right", dy: 36, textAnchor: "end", fill: INK, fontWeight: 600}),
      ],
    });
  });

  // --- the trace ----------------------------------------------------------------------------------
  const shade = (color) => {
    const probe = document.createElement("span");
    probe.style.color = color;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  // Channels answer at their own times: one common axis, with gaps where a channel was not read.
  function aligned(channels) {
    if (channels.length === 1) return [channels[0].t_s, channels[0].power_w];
    return uPlot.join(channels.map((one) => [one.t_s, one.power_w]));
  }

  function draw(holder, width) {
    const trace = ow.data.trace;
    if (!trace.channels.length) return null;
    const box = document.createElement("div");
    const ink = shade(INK), line = shade(LINE), muted = shade(MUTED);
    const axis = {stroke: muted, grid: {stroke: line, width: 1}, ticks: {stroke: line, width: 1}, font: "12px sans-serif"};
    const hum = known(trace.hum_w) ? [{
      draw: (plot) => {
        const y = plot.valToPos(trace.hum_w, "y", true);
        const pen = plot.ctx;
        pen.save();
        pen.strokeStyle = ink;
        pen.setLineDash([4, 5]);
        pen.beginPath();
        pen.moveTo(plot.bbox.left, y);
        pen.lineTo(plot.bbox.left + plot.bbox.width, y);
        pen.stroke();
        pen.fillStyle = ink;
        pen.font = `${12 * devicePixelRatio}px sans-serif`;
        pen.fillText("hum", plot.bbox.left + plot.bbox.width - 34 * devicePixelRatio, y - 5 * devicePixelRatio);
        pen.restore();
      },
    }] : [];
    new uPlot({
      width, height: width < 520 ? 240 : 300,
      scales: {x: {time: false, range: (plot, low, high) => [low, high === low ? low + 1 : high]}, y: {range: (plot, low, high) => [Math.min(0, low), high * 1.05 || 1]}},
      axes: [{...axis, label: "seconds since the run began", labelSize: 22, labelFont: "600 12px sans-serif", stroke: muted}, {...axis, label: "power (W)", labelSize: 22, labelFont: "600 12px sans-serif", size: 56}],
      series: [
        {label: "s"},
        ...trace.channels.map((one, i) => ({
          label: `${ow.clip(one.name, 24)} (W)`, stroke: shade(PALETTE[i % PALETTE.length]), width: 1.5,
          fill: i ? undefined : shade(PALETTE[0]).replace("rgb(", "rgba(").replace(")", ", 0.12)"), points: {show: one.t_s.length < 60},
          value: (plot, value) => (known(value) ? value.toPrecision(4) : "\u2013"),
        })),
      ],
      hooks: {draw: hum.map((one) => one.draw)},
      legend: {live: true},
    }, aligned(trace.channels), box);
    return box;
  }

  // For SVG and PNG the same trace as a drawing of Plot's, since a canvas is no drawing.
  function svg(holder) {
    const trace = ow.data.trace;
    const rows = trace.channels.flatMap((one, i) => one.t_s.map((t, at) => ({t, w: one.power_w[at], i})));
    const resolved = [INK, MUTED, LINE, ...PALETTE].map(shade);
    return Plot.plot({
      width: 1000, height: 360, marginLeft: 56, marginBottom: 40,
      style: {fontSize: "12.5px", fontFamily: "sans-serif", background: "transparent", color: resolved[0]},
      x: {label: "seconds since the run began"}, y: {label: "power (W)", zero: true},
      marks: [
        Plot.gridY({stroke: resolved[2], strokeOpacity: 1}),
        Plot.lineY(rows, {x: "t", y: "w", z: "i", stroke: (row) => resolved[3 + row.i % PALETTE.length], strokeWidth: 1.2}),
        known(trace.hum_w) ? Plot.ruleY([trace.hum_w], {stroke: resolved[0], strokeDasharray: "4 5"}) : null,
      ],
      color: {type: "identity"},
    });
  }

  ow.chart("trace", draw, svg);
  addEventListener("outweigh-theme", () => ow.redraw("trace"));
})();
