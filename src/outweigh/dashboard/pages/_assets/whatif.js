/* The charts of the what-ifs: an abatement curve, cooling, two fleets, one run under a tariff, offers, shocks, a case over its years. */
(() => {
  "use strict";
  const {known, clip, INK, MUTED, LINE, PALETTE, STYLE} = ow;
  const rowsOf = (name) => (ow.data.tables && ow.data.tables[name] ? ow.data.tables[name].rows : []);
  const t = (grams) => grams / 1e6;
  const steps = () => ((ow.data.levers && ow.data.levers.steps) || []).map((s) => ({...s, x1: t(s.before_carbon_g), x2: t(s.before_carbon_g + s.carbon_g)}));
  const shade = (s) => (s.measured ? "var(--pass)" : "var(--work)");
  const title = (text, dx = -58) => Plot.text([text], {frameAnchor: "top-left", dx, dy: -24, textAnchor: "start", fill: INK, fontWeight: 600});
  const below = (text, dy = 38) => Plot.text([text], {frameAnchor: "bottom-right", dy, textAnchor: "end", fill: INK, fontWeight: 600});
  const named = (margin) => Plot.axisY({tickSize: 0, fill: INK, label: null, tickFormat: (name) => clip(name, Math.floor(margin / 7.4))});
  const legend = (pairs) => {
    const list = document.createElement("ul");
    list.className = "legend";
    list.setAttribute("aria-hidden", "true");
    for (const [name, colour] of pairs) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour;
      item.append(swatch, clip(name, 40));
      list.append(item);
    }
    return list;
  };
  const boxed = (...parts) => {
    const box = document.createElement("div");
    box.append(...parts);
    return box;
  };

  function curve(holder, width) {
    const all = steps(), money = ow.data.levers && ow.data.levers.currency;
    if (!all.length) return null;
    const top = d3.max(all, (s) => Math.max(s.gross_per_tonne, s.net_per_tonne, 0)) || 1;
    const low = Math.min(0, d3.min(all, (s) => s.net_per_tonne)), whole = all[all.length - 1].x2;
    const room = (s) => (s.x2 - s.x1) / whole * (width - 78);
    return Plot.plot({
      width, height: 360, marginLeft: 66, marginRight: 12, marginTop: 34, marginBottom: 46, style: STYLE,
      x: {label: null, domain: [0, whole]}, y: {label: null, domain: [low * 1.08, top * 1.15], nice: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}),
        Plot.axisY({tickSize: 0, fill: MUTED, label: null}),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.rect(all, {x1: "x1", x2: "x2", y1: 0, y2: (s) => Math.max(s.gross_per_tonne, (top - low) * 0.006), fill: shade, fillOpacity: (s) => (s.measured ? 0.9 : 0.35),
          stroke: shade, strokeDasharray: (s) => (s.measured ? null : "4 3"), insetLeft: 0.5, insetRight: 0.5,
          title: (s) => `${s.name}: ${d3.format(",.3~r")(s.x2 - s.x1)} t at ${d3.format(",.0f")(s.gross_per_tonne)} ${money}/t, net ${d3.format(",.0f")(s.net_per_tonne)}`}),
        Plot.ruleY([0], {stroke: INK}),
        Plot.dot(all, {x: (s) => (s.x1 + s.x2) / 2, y: "net_per_tonne", r: 4.5, fill: shade, stroke: "var(--paper)", strokeWidth: 1.5}),
        Plot.text(all.filter((s) => room(s) > 40), {x: (s) => (s.x1 + s.x2) / 2, y: (s) => Math.max(s.gross_per_tonne, 0), dy: -8,
          text: (s) => clip(s.name, Math.max(3, Math.floor(room(s) / 7.2))), fill: INK}),
        title(`\u2191 ${money} per tonne`), below("tonnes avoided a year \u2192"),
      ],
    });
  }

  function left(holder, width) {
    const all = steps();
    if (!all.length) return null;
    const margin = width < 560 ? 118 : 210, whole = t(ow.data.levers.base.carbon_g);
    const rows = [{name: "do nothing", left: whole, base: true}, ...all.map((s) => ({name: s.name, left: whole - s.x2, measured: s.measured}))];
    return Plot.plot({
      width, height: 56 + rows.length * 28, marginLeft: margin, marginRight: 52, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, whole]}, y: {domain: rows.map((r) => r.name), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.barX(rows, {x1: 0, x2: "left", y: "name", fill: (r) => (r.base ? "var(--incumbent)" : shade(r)), fillOpacity: (r) => (r.base || r.measured ? 0.9 : 0.4)}),
        Plot.text(rows, {x: "left", y: "name", text: (r) => d3.format(",.3~r")(r.left), dx: 6, textAnchor: "start", fill: INK}),
        below(width < 560 ? "tonnes a year left \u2192" : "tonnes a year left, with this lever and those above \u2192", 36),
      ],
    });
  }

  function cooling(holder, width) {
    const rows = rowsOf("cooling");
    if (!rows.length) return null;
    const [scale, prefix] = ow.prefix(d3.max(rows, (r) => r.facility_high_j) / 3600), y = (j) => j / 3600 / scale;
    const margin = width < 560 ? 96 : 130;
    return Plot.plot({
      width, height: 60 + rows.length * 34, marginLeft: margin, marginRight: 70, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, y(d3.max(rows, (r) => r.facility_high_j)) * 1.05]}, y: {domain: rows.map((r) => r.technology), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.barX(rows, {x1: 0, x2: (r) => y(r.facility_j), y: "technology", fill: (r) => (r.now === "projected" ? "var(--work)" : "var(--incumbent)"), fillOpacity: (r) => (r.now === "projected" ? 0.45 : 0.9)}),
        Plot.ruleY(rows, {y: "technology", x1: (r) => y(r.facility_low_j), x2: (r) => y(r.facility_high_j), stroke: INK, strokeWidth: 1.6}),
        Plot.text(rows, {x: (r) => y(r.facility_high_j), y: "technology", dx: 7, textAnchor: "start", text: (r) => `PUE ${d3.format(".2f")(r.pue)}`, fill: INK, stroke: "var(--paper)", strokeWidth: 3}),
        below(`${prefix}Wh a year \u2192`, 36),
      ],
    });
  }

  function fleets(holder, width) {
    const rows = rowsOf("fleets").filter((r) => known(r.carbon_g));
    if (!rows.length) return null;
    const margin = width < 560 ? 76 : 110;
    const bars = rows.flatMap((r) => [["use", r.use_g, PALETTE[0]], ["making", r.debt_g, PALETTE[1]]].map(([name, g, colour]) => ({way: r.way, name, carbon: t(g), colour})));
    return boxed(legend([["use", PALETTE[0]], ["making", PALETTE[1]]]), Plot.plot({
      width, height: 60 + rows.length * 44, marginLeft: margin, marginRight: 20, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, t(d3.max(rows, (r) => r.carbon_high_g)) * 1.04]}, y: {domain: rows.map((r) => r.way), label: null, padding: 0.35},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        Plot.barX(bars, Plot.stackX({y: "way", x: "carbon", fill: "colour", fillOpacity: 0.85, title: (b) => `${b.way}, ${b.name}: ${d3.format(",.3~r")(b.carbon)} t`})),
        Plot.ruleY(rows, {y: "way", x1: (r) => t(r.carbon_low_g), x2: (r) => t(r.carbon_high_g), stroke: INK, strokeWidth: 1.6}),
        below("tonnes over the years \u2192", 36),
      ],
    }));
  }

  const PARTS = [["energy", "energy", 0], ["demand", "demand and ratchet", 1], ["rest", "riders, taxes, rest", 7], ["cooling", "cooling", 5]];
  function tariff(holder, width) {
    if (ow.data.form !== "tariff") return null;
    const rows = rowsOf("ways");
    if (!rows.length) return null;
    const bars = rows.flatMap((r) => PARTS.map(([key, name, i]) => ({way: r.way, name, amount: r[key] || 0, colour: PALETTE[i]})));
    const money = ow.data.tariff.currency, margin = width < 560 ? 118 : 230;
    return boxed(legend(PARTS.map(([, name, i]) => [name, PALETTE[i]])), Plot.plot({
      width, height: 60 + rows.length * 36, marginLeft: margin, marginRight: 70, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, nice: true}, y: {domain: rows.map((r) => r.way), label: null, padding: 0.3},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 3 : 7, fill: MUTED, stroke: MUTED, label: null, tickFormat: "~s"}),
        Plot.barX(bars, Plot.stackX({y: "way", x: "amount", fill: "colour", title: (b) => `${b.way}, ${b.name}: ${d3.format(",.0f")(b.amount)} ${money}`})),
        Plot.tickX(rows.filter((r) => r.naive), {x: "naive", y: "way", stroke: INK, strokeWidth: 2.5}),
        Plot.ruleX([0], {stroke: INK}),
        Plot.text(rows, {x: (r) => Math.max(r.total, 0), y: "way", dx: 7, textAnchor: "start", text: (r) => (r.total ? d3.format(",.0f")(r.total) : "0"), fill: INK}),
        below(`adds to the bill (${money}) \u2192`, 36),
      ],
    }));
  }

  function exposure(holder, width) {
    const rows = rowsOf("exposure").filter((r) => known(r.cost));
    if (!rows.length) return null;
    const states = [...new Set(rows.map((r) => r.state))], money = ow.data.policy.currency;
    const margin = width < 560 ? 128 : 230, sites = [...new Set(rows.map((r) => r.site))];
    const [scale, prefix] = ow.prefix(d3.max(rows, (r) => r.cost));
    const colour = (site) => PALETTE[sites.indexOf(site) % PALETTE.length];
    return boxed(legend(sites.map((s) => [s, colour(s)])), Plot.plot({
      width, height: 60 + states.length * 26, marginLeft: margin, marginRight: 20, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, d3.max(rows, (r) => r.cost) / scale * 1.04]}, y: {domain: states, label: null, type: "point", padding: 0.6},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), Plot.gridY({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 4 : 8, fill: MUTED, stroke: MUTED, label: null}),
        ...sites.map((site) => Plot.ruleX([rows.find((r) => r.site === site && r.state === "as today")].filter(Boolean), {x: (r) => r.cost / scale, stroke: colour(site), strokeDasharray: "3 4", strokeOpacity: 0.8})),
        Plot.dot(rows, {x: (r) => r.cost / scale, y: "state", r: 5.5, fill: (r) => (r.state === "as today" ? colour(r.site) : "var(--paper)"), stroke: (r) => colour(r.site), strokeWidth: 2,
          title: (r) => `${r.site}, ${r.state}: ${d3.format(",.4~r")(r.cost)} ${money}`}),
        below(`a year's cost (${prefix}${money}) \u2192`, 36),
      ],
    }));
  }

  function bills(holder, width) {
    const rows = rowsOf("bills");
    if (!rows.length) return null;
    const who = [...new Set(rows.map((r) => r.who))], offers = [...new Set(rows.map((r) => r.offer))];
    const money = ow.data.negotiation.currency, margin = width < 560 ? 118 : 190;
    const colour = (offer) => (offers.indexOf(offer) ? PALETTE[offers.indexOf(offer) % PALETTE.length] : INK);
    return boxed(legend(offers.map((o) => [o, colour(o)])), Plot.plot({
      width, height: 60 + who.length * 34, marginLeft: margin, marginRight: 20, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, domain: [0, d3.max(rows, (r) => r.total) * 1.04]}, y: {domain: who, label: null, type: "point", padding: 0.6},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), Plot.gridY({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 3 : 7, fill: MUTED, stroke: MUTED, label: null, tickFormat: "~s"}),
        Plot.dot(rows, {x: "total", y: "who", r: 5.5, fill: (r) => (r.offer === "as today" ? INK : "var(--paper)"), stroke: (r) => colour(r.offer), strokeWidth: 2,
          title: (r) => `${r.who}, ${r.offer}: ${d3.format(",.0f")(r.total)} ${money}`}),
        below(`a year's bill (${money}) \u2192`, 36),
      ],
    }));
  }

  function cash(holder, width) {
    if (ow.data.form !== "finance") return null;
    const rows = rowsOf("cash");
    if (!rows.length) return null;
    const ways = [...new Set(rows.map((r) => r.way))], money = ow.data.finance.currency;
    const points = ways.flatMap((way) => {
      let sum = 0;
      return rows.filter((r) => r.way === way).map((r) => ({way, year: r.year, sum: (sum += r.cash)}));
    });
    const colour = (way) => (ways.indexOf(way) ? PALETTE[ways.indexOf(way) % PALETTE.length] : INK);
    return boxed(legend(ways.map((w) => [w, colour(w)])), Plot.plot({
      width, height: 300, marginTop: 34, marginLeft: 66, marginRight: 16, marginBottom: 44, style: STYLE,
      x: {label: null, ticks: d3.max(points, (p) => p.year)}, y: {label: null, nice: true},
      marks: [
        Plot.gridY({stroke: LINE, strokeOpacity: 1}), Plot.axisY({tickSize: 0, fill: MUTED, label: null, tickFormat: "~s"}),
        Plot.axisX({fill: MUTED, stroke: MUTED, label: null, ticks: Math.min(d3.max(points, (p) => p.year), 10), tickFormat: "d"}),
        title(`\u2191 ${money}, added up`), below("year \u2192"),
        Plot.ruleY([0], {stroke: MUTED}),
        Plot.line(points, {x: "year", y: "sum", z: "way", stroke: (p) => colour(p.way), strokeWidth: 2.2}),
        Plot.dot(points, {x: "year", y: "sum", fill: (p) => colour(p.way), r: 3, title: (p) => `${p.way}, year ${p.year}: ${d3.format(",.0f")(p.sum)} ${money}`}),
      ],
    }));
  }

  function tornado(holder, width) {
    const rows = rowsOf("tornado");
    if (!rows.length) return null;
    const money = ow.data.finance.currency, gain = ow.data.finance.gain, margin = width < 560 ? 118 : 190;
    return Plot.plot({
      width, height: 60 + rows.length * 27, marginLeft: margin, marginRight: 16, marginTop: 8, marginBottom: 44, style: STYLE,
      x: {label: null, nice: true}, y: {domain: rows.map((r) => r.input), label: null, padding: 0.25},
      marks: [
        Plot.gridX({stroke: LINE, strokeOpacity: 1}), named(margin),
        Plot.axisX({ticks: width < 520 ? 3 : 5, fill: MUTED, stroke: MUTED, label: null, tickFormat: "~s"}),
        Plot.barX(rows, {y: "input", x1: () => gain, x2: "at_low", fill: "var(--incumbent)", fillOpacity: 0.85, title: (r) => `${r.input} at its low end: ${d3.format(",.0f")(r.at_low)} ${money}`}),
        Plot.barX(rows, {y: "input", x1: () => gain, x2: "at_high", fill: "var(--proposal)", fillOpacity: 0.85, title: (r) => `${r.input} at its high end: ${d3.format(",.0f")(r.at_high)} ${money}`}),
        Plot.ruleX([0], {stroke: INK, strokeDasharray: "3 3"}), Plot.ruleX([gain], {stroke: INK, strokeWidth: 1.5}),
        below(`gain (${money}): blue at the low end, orange at the high \u2192`, 36),
      ],
    });
  }

  ow.chart("curve", curve);
  ow.chart("left", left);
  ow.chart("cooling", cooling);
  ow.chart("fleets", fleets);
  ow.chart("tariff", tariff);
  ow.chart("bills", bills);
  ow.chart("exposure", exposure);
  ow.chart("cash", cash);
  ow.chart("tornado", tornado);
})();
