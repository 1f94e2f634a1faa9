/* Bars of a report's tables. Needs d3, Observable Plot and charts.js, all in this file. */
(() => {
  "use strict";
  const {data, keep, clip, INK, MUTED, LINE, STYLE} = charts;

  function draw(chart) {
    return (holder) => {
      const width = holder.clientWidth, margin = width < 560 ? 110 : 210, shown = d3.format(".3~s");
      const signed = chart.bars.some((bar) => bar.value < 0);
      return Plot.plot({
        width, height: 56 + chart.bars.length * 28, marginLeft: margin, marginRight: 56, marginTop: 8, marginBottom: 44, style: STYLE,
        x: {label: null}, y: {domain: chart.bars.map((bar) => bar.name), label: null, padding: 0.3},
        marks: [
          Plot.gridX({stroke: LINE, strokeOpacity: 1}),
          Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, Math.floor(margin / 7.3))}),
          Plot.axisX({ticks: width < 520 ? 4 : 8, tickFormat: shown, fill: MUTED, stroke: MUTED, label: null}),
          Plot.barX(chart.bars, {x: "value", y: "name", fill: (bar) => (bar.value < 0 ? "var(--proposal)" : "var(--hum)")}),
          Plot.ruleX([0], {stroke: INK}),
          Plot.text(chart.bars, {x: (bar) => Math.max(bar.value, 0), y: "name", text: (bar) => shown(bar.value), dx: 6, textAnchor: "start", fill: INK}),
          Plot.text([chart.label + (signed ? "" : " \u2192")], {frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
        ],
      });
    };
  }

  for (const chart of data.charts) keep(chart.id, draw(chart));
})();
