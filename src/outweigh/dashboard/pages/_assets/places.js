/* The charts of places and times: strips of a week, sites against each other, a plan over time, the price of one more run. */
(() => {
  "use strict";
  const {known, clip, INK, MUTED, LINE, PALETTE, STYLE} = ow;
  const rowsOf = (name) => (ow.data.tables && ow.data.tables[name] ? ow.data.tables[name].rows : []);
  const left = (width) => (width < 560 ? 84 : 150);
  const letters = (margin) => Math.floor(margin / 7.6);
  const clock = d3.utcFormat("%H:%M"), day = d3.utcFormat("%-d %b");
  const axisX = (width) => Plot.axisX({
    ticks: width < 560 ? 4 : 8, tickSize: 4, fill: MUTED, stroke: MUTED, label: null,
    tickFormat: (t) => (t.getUTCHours() || t.getUTCMinutes() ? clock(t) : day(t)),
  });
  const axisNames = (margin) => Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, letters(margin))});
  const heading = (text, width, dx = 0) => Plot.text([clip(text, Math.floor(width / 6.4))], {facet: "super", frameAnchor: "top-left", dx, dy: -18, textAnchor: "start", fill: MUTED});
  const number = d3.format(".3~g");

  // One strip a meaning: figures that answer different questions never share a scale.
  function strips(name, key, unit, scheme) {
    return (holder, width) => {
      const cells = rowsOf(name).map((r) => ({...r, x1: new Date(r.start), x2: new Date(r.end), value: r[key]}));
      if (!cells.length) return null;
      const window = [d3.min(cells, (c) => c.x1), d3.max(cells, (c) => c.x2)];
      const margin = left(width), box = document.createElement("div");
      for (const [what, own] of d3.group(cells, (c) => `${c.meaning}, ${unit(c)}`)) {
        const sites = [...new Set(own.map((c) => c.site))], shown = own.filter((c) => known(c.value));
        const [low, high] = d3.extent(shown, (c) => c.value), reach = high - low || Math.abs(high) || 1;
        const said = shown.length ? `${what}: ${number(low)}${high > low ? ` to ${number(high)}` : ""}` : what;
        const whole = shown.filter((c) => c.x2 - c.x1 > 0.9 * (window[1] - window[0]));
        box.append(Plot.plot({
          width, height: 56 + sites.length * 26, marginLeft: margin, marginRight: 12, marginTop: 28, marginBottom: 24, style: STYLE,
          x: {type: "utc", domain: window, label: null}, y: {domain: sites, label: null, padding: 0.14},
          // The lowest value keeps some ink, so that a cheap hour is not taken for a missing one.
          color: {type: "linear", scheme, domain: [low - reach / 3, high + reach / 8]},
          marks: [
            heading(said, width, width < 560 ? 2 - margin : 0), axisNames(margin),
            Plot.barX(own.filter((c) => !known(c.value)), {y: "site", x1: "x1", x2: "x2", fill: LINE, title: (c) => `${c.site}: missing`}),
            Plot.barX(shown, {y: "site", x1: "x1", x2: "x2", fill: "value", title: (c) => `${c.site}, ${day(c.x1)} ${clock(c.x1)}: ${number(c.value)} ${unit(c)}, ${c.quality}`}),
            Plot.text(whole, {y: "site", x: (c) => new Date((+c.x1 + +c.x2) / 2), text: (c) => `${number(c.value)}, ${c.quality}`, fill: (c) => ((c.value - low) / reach > 0.45 ? "#ffffff" : "#1d2125")}),
            axisX(width),
          ],
        }));
      }
      return box;
    };
  }

  function cap(holder, width) {
    const sites = rowsOf("sites").filter((s) => known(s.cap_w));
    if (!sites.length) return null;
    const window = [new Date(ow.data.week.start), new Date(ow.data.week.end)];
    const drawn = rowsOf("load"), step = drawn.length > 1 ? new Date(drawn[1].start) - new Date(drawn[0].start) : 0;
    const inside = drawn.filter((r) => r.load_w > 0 && known(r.cap_w) && new Date(r.start) >= window[0] && new Date(r.start) < window[1] && sites.some((s) => s.site === r.site));
    const margin = left(width);
    return Plot.plot({
      width, height: 34 + sites.length * 26, marginLeft: margin, marginRight: 12, marginTop: 4, marginBottom: 24, style: STYLE,
      x: {type: "utc", domain: window, label: null}, y: {domain: sites.map((s) => s.site), label: null, padding: 0.14},
      marks: [
        axisNames(margin),
        Plot.barX(sites, {y: "site", x1: () => window[0], x2: () => window[1], fill: "var(--raised)", stroke: LINE}),
        Plot.barX(inside, {y: "site", x1: (r) => new Date(r.start), x2: (r) => new Date(+new Date(r.start) + step), fill: "var(--work)", fillOpacity: (r) => 0.2 + 0.8 * Math.min(1, r.load_w / r.cap_w),
          title: (r) => `${r.site}: ${ow.power(r.load_w)} of ${ow.power(r.cap_w)}`}),
        Plot.text(sites, {y: "site", x: () => window[0], dx: 8, textAnchor: "start", text: (s) => ow.power(s.cap_w), fill: INK}),
        axisX(width),
      ],
    });
  }

  function against(holder, width) {
    const all = rowsOf("sites").filter((s) => known(s.cost) && known(s.carbon_g));
    if (!all.length) return null;
    const box = document.createElement("div");
    for (const [what, own] of d3.group(all, (s) => `${s.cost_currency}, ${s.basis}`)) {
      const points = own.map((s, i) => ({...s, kg: s.carbon_g / 1000, colour: PALETTE[i % PALETTE.length], open: s.state !== "on the frontier"}));
      const money = own[0].cost_currency, narrow = width < 520;
      // Names beside points that lie close together: the higher one above, the lower one below.
      const ordered = d3.sort(points, (p) => p.kg);
      ordered.forEach((p, i) => { p.rise = i % 2 ? 15 : -15; });
      box.append(Plot.plot({
        width, height: narrow ? 280 : 330, marginTop: 34, marginRight: narrow ? 40 : 90, marginBottom: 46, marginLeft: 56, style: STYLE,
        x: {label: null, domain: [0, d3.max(points, (p) => p.kg) * 1.08]}, y: {label: null, domain: [0, d3.max(points, (p) => p.cost) * 1.15]},
        marks: [
          Plot.gridY({stroke: LINE, strokeOpacity: 1}),
          Plot.axisY({tickSize: 0, fill: MUTED, label: null, ticks: 5}),
          Plot.axisX({ticks: narrow ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
          Plot.text([`\u2191 ${money} per MWh of IT`], {frameAnchor: "top-left", dx: -48, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
          Plot.text([`kg of CO2e per MWh of IT (${own[0].basis}) \u2192`], {frameAnchor: "bottom-right", dx: narrow ? 30 : 80, dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
          Plot.line(d3.sort(points.filter((p) => !p.open), (p) => p.kg), {x: "kg", y: "cost", stroke: MUTED, strokeDasharray: "4 3"}),
          Plot.dot(points, {x: "kg", y: "cost", r: 6.5, fill: (p) => (p.open ? "var(--paper)" : p.colour), stroke: (p) => (p.open ? p.colour : "var(--paper)"), strokeWidth: (p) => (p.open ? 2.2 : 1.5),
            title: (p) => `${p.site}: ${number(p.cost)} ${money}, ${number(p.kg)} kg a MWh, ${p.state}`}),
          ...points.map((p) => Plot.text([p], {x: "kg", y: "cost", dx: 9, dy: p.rise, text: () => clip(p.site, 22), textAnchor: "start", fill: p.colour, fontWeight: 600, stroke: "var(--paper)", strokeWidth: 4})),
        ],
      }));
    }
    return box;
  }

  const plan = () => (ow.data.plan ? ow.data.plan.drawn : null);
  const siteColour = (name) => {
    const at = plan().sites.findIndex((s) => s.name === name);
    return at < 0 ? MUTED : PALETTE[at % PALETTE.length];
  };
  const legend = () => {
    const list = document.createElement("ul");
    list.className = "legend";
    list.setAttribute("aria-hidden", "true");
    for (const site of plan().sites) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = siteColour(site.name);
      item.append(swatch, clip(site.name, 40));
      list.append(item);
    }
    return list;
  };
  const horizon = () => [new Date(plan().edges[0] * 1000), new Date(plan().edges[plan().edges.length - 1] * 1000)];

  function gantt(holder, width) {
    if (!plan()) return null;
    const margin = left(width), at = (s) => new Date(s * 1000);
    const jobs = plan().jobs, names = jobs.map((job) => job.name);
    const pieces = jobs.flatMap((job) => job.pieces.map((piece) => ({...piece, name: job.name})));
    const box = document.createElement("div");
    box.append(legend(), Plot.plot({
      width, height: 30 + Math.max(names.length * 22, 60), marginLeft: margin, marginRight: 12, marginTop: 8, marginBottom: 24, style: STYLE,
      x: {type: "utc", domain: horizon(), label: null}, y: {domain: names, label: null, padding: 0.25},
      marks: [
        axisNames(margin),
        Plot.ruleY(jobs, {y: "name", x1: (j) => at(j.release), x2: (j) => at(j.deadline), stroke: LINE, strokeWidth: 2}),
        Plot.tickX(jobs, {y: "name", x: (j) => at(j.deadline), stroke: MUTED, strokeWidth: 1}),
        Plot.barX(pieces, {y: "name", x1: (p) => at(p.start), x2: (p) => at(p.end), fill: (p) => siteColour(p.site), insetRight: 0.4,
          title: (p) => `${p.name} at ${p.site}, ${ow.power(p.power_w)}`}),
        axisX(width),
      ],
    }));
    return box;
  }

  function load(holder, width) {
    if (!plan()) return null;
    const margin = left(width), times = plan().edges.map((s) => new Date(s * 1000)), sites = plan().sites;
    const rows = sites.flatMap((site) => site.load_kw.map((kw, i) => ({site: site.name, x1: times[i], x2: times[i + 1], kw})));
    const limits = sites.filter((site) => known(site.capacity_kw)).flatMap((site) => site.capacity_kw.map((kw, i) => ({site: site.name, x: times[i], kw})));
    return Plot.plot({
      width, height: 40 + sites.length * 84, marginLeft: margin, marginRight: 12, marginTop: 22, marginBottom: 24, style: STYLE,
      x: {type: "utc", domain: horizon(), label: null}, y: {label: null, nice: true, zero: true}, fy: {domain: sites.map((s) => s.name), label: null, padding: 0.18},
      marks: [
        Plot.axisFy({anchor: "left", dx: -34, fill: INK, label: null, fontWeight: 600, tickFormat: (name) => clip(name, letters(margin - 34))}),
        heading("kW", width),
        Plot.rect(rows, {fy: "site", x1: "x1", x2: "x2", y1: 0, y2: "kw", fill: (r) => siteColour(r.site)}),
        Plot.lineY(limits, {fy: "site", x: "x", y: "kw", stroke: INK, strokeDasharray: "4 3", curve: "step-after"}),
        Plot.axisY({ticks: 3, tickSize: 0, fill: MUTED, label: null}),
        Plot.ruleY([0], {stroke: MUTED}),
        axisX(width),
      ],
    });
  }

  const PARTS = [["energy", "energy", 0], ["demand", "demand and ratchet", 1], ["rest", "riders, taxes, rest", 7], ["cooling", "cooling", 5]];
  function marginal(holder, width) {
    const rows = rowsOf("marginal");
    if (!rows.length) return null;
    const bars = rows.flatMap((r) => PARTS.map(([key, name, i]) => ({run: r.run, name, amount: r[key], colour: PALETTE[i]})));
    const crossed = rows.filter((r) => r.crosses), money = ow.data.marginal.currency;
    const box = document.createElement("div"), list = document.createElement("ul");
    list.className = "legend";
    list.setAttribute("aria-hidden", "true");
    for (const [, name, i] of PARTS) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = PALETTE[i];
      item.append(swatch, name);
      list.append(item);
    }
    box.append(list, Plot.plot({
      width, height: width < 520 ? 260 : 320, marginTop: 34, marginLeft: 66, marginRight: 12, marginBottom: 46, style: STYLE,
      x: {type: "band", domain: rows.map((r) => r.run), label: null, padding: 0.2}, y: {label: null, nice: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}),
        Plot.axisY({tickSize: 0, fill: MUTED, label: null, tickFormat: "~s"}),
        Plot.axisX({tickSize: 0, fill: MUTED, label: null, ticks: rows.length > 24 ? rows.filter((_, i) => i % 5 === 0).map((r) => r.run) : undefined}),
        Plot.text([`\u2191 each run adds (${money})`], {frameAnchor: "top-left", dx: -58, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600}),
        Plot.text(["run of the month \u2192"], {frameAnchor: "bottom-right", dy: 38, textAnchor: "end", fill: INK, fontWeight: 600}),
        Plot.barY(bars, Plot.stackY({x: "run", y: "amount", fill: "colour", title: (b) => `run ${b.run}, ${b.name}: ${d3.format(",.0f")(b.amount)} ${money}`})),
        Plot.ruleY([0], {stroke: INK}),
        Plot.text(crossed.slice(0, 1), {x: "run", y: () => d3.max(rows, (r) => r.total), dy: -12, text: () => "from here on over the contract", textAnchor: rows.indexOf(crossed[0]) > rows.length / 2 ? "end" : "start", fill: INK, stroke: "var(--paper)", strokeWidth: 4}),
      ],
    }));
    return box;
  }

  ow.chart("carbon", strips("carbon", "carbon_g_per_kwh", () => "gCO2e/kWh", "YlOrBr"));
  ow.chart("price", strips("price", "price", (c) => `${c.price_currency}/MWh`, "PuBu"));
  ow.chart("cap", cap);
  ow.chart("sites", against);
  ow.chart("gantt", gantt);
  ow.chart("load", load);
  ow.chart("marginal", marginal);
})();
