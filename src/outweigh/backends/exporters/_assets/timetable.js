/* What the charts of a plan and of what came of it share: a time axis in UTC, one colour a site, and strips that show a
   quantity of every site over time. The page's data has `edges` [s since 1970], `sites`, and `until` where its charts end
   before or after the last edge. Needs d3, Observable Plot and charts.js. */
const timetable = (() => {
  "use strict";
  const {data, known, clip, INK, MUTED, PALETTE, STYLE} = charts;
  const at = (s) => new Date(s * 1000);
  const times = data.edges.map(at);
  const sites = data.sites.map((site) => site.name);
  // After eight sites colours repeat, names do not.
  const colour = (name) => (sites.includes(name) ? PALETTE[sites.indexOf(name) % PALETTE.length] : MUTED);
  const left = (width) => (width < 560 ? 84 : 150);
  // Charts below each other share their axis, so what one writes beside it all leave room for.
  const right = data.jobs.some((job) => job.late) ? 40 : 12;
  const letters = (margin) => Math.floor(margin / 7.4);
  const end = known(data.until) ? at(data.until) : times[times.length - 1];
  const xScale = {type: "utc", domain: [times[0], end], label: null};
  const clock = d3.utcFormat("%H:%M"), day = d3.utcFormat("%-d %b");
  const axisX = (width) => Plot.axisX({
    ticks: width < 560 ? 4 : 9, tickSize: 4, fill: MUTED, stroke: MUTED, label: null,
    tickFormat: (t) => (t.getUTCHours() || t.getUTCMinutes() ? clock(t) : day(t)),
  });
  const axisNames = (margin) => Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, letters(margin))});

  function legend(id) {
    const list = document.getElementById(id);
    for (const name of [...sites].reverse()) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour(name);
      item.append(swatch, name);
      list.prepend(item);
    }
  }

  function strips(key, label, unit, scheme) {
    return (holder) => {
      const width = holder.clientWidth, margin = left(width);
      const cells = data.sites.flatMap((site) =>
        site[key].map((value, i) => ({site: site.name, x1: times[i], x2: times[i + 1] > end ? end : times[i + 1], value}))
          .filter((c) => known(c.value) && c.x1 < end));
      if (!cells.length) return null;
      // The lowest value keeps some ink, so that a cheap hour is not taken for a missing one.
      const [low, high] = d3.extent(cells, (c) => c.value), reach = high - low || Math.abs(high) || 1;
      return Plot.plot({
        width, height: 64 + sites.length * 18, marginLeft: margin, marginRight: right, marginTop: 34, marginBottom: 22,
        style: STYLE, x: xScale, y: {domain: sites, label: null, padding: 0.1},
        color: {type: "linear", scheme, domain: [low - reach / 4, high]},
        marks: [
          Plot.text([`${label} (${unit}), ${d3.format(".3~g")(low)} to ${d3.format(".3~g")(high)}`], {
            frameAnchor: "top-left", dy: -20, textAnchor: "start", fill: INK, fontWeight: 600,
          }),
          axisNames(margin),
          Plot.barX(cells, {y: "site", x1: "x1", x2: "x2", fill: "value", title: (c) => `${c.site}: ${c.value.toPrecision(3)} ${unit}`}),
          axisX(width),
        ],
      });
    };
  }

  const carbon = strips("intensity_g_per_kwh", "Carbon intensity", "gCO2e/kWh", "YlOrBr");
  const price = strips("price_per_mwh", "Price", `${data.currency}/MWh`, "PuBu");
  return {at, times, sites, colour, left, right, xScale, axisX, axisNames, legend, carbon, price};
})();
