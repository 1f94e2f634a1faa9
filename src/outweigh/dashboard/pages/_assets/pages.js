/* What the pages share: their data, charts that are drawn again when the room or the figures change, downloads of each
   chart, the choice of colours, and looking for something newer. Colours are CSS variables, so light, dark and print
   follow the page without drawing again. */
const ow = (() => {
  "use strict";
  const INK = "var(--ink)", MUTED = "var(--muted)", LINE = "var(--line)";
  const PALETTE = Array.from({length: 8}, (_, i) => `var(--c${i})`);
  const STYLE = {fontSize: "12.5px", background: "transparent", color: INK, overflow: "visible"};
  const root = document.documentElement;
  const copy = "copy" in root.dataset;
  const known = (value) => value !== null && value !== undefined;
  const clip = (text, most) => (text.length > most ? text.slice(0, most - 1) + "\u2026" : text);

  const source = () => document.getElementById("page-data");
  const self = {
    data: source() ? JSON.parse(source().textContent) : {},
    copy, known, clip, INK, MUTED, LINE, PALETTE, STYLE, J_PER_KWH: 3.6e6,
  };

  // --- figures ----------------------------------------------------------------------------------
  const PREFIXES = [[1e-9, "n"], [1e-6, "\u00b5"], [1e-3, "m"], [1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]];
  // From 0.1 up to 1,000 the plain unit stays, as in the tables.
  self.prefix = (value) => {
    const size = Math.abs(value);
    if (!size || !isFinite(size) || (size >= 0.1 && size < 1000)) return [1, ""];
    return PREFIXES.filter((step) => size >= step[0]).pop() || PREFIXES[0];
  };
  self.si = (value, unit, digits = 3) => {
    if (!known(value)) return "missing";
    const [factor, letter] = self.prefix(value);
    return `${Number((value / factor).toPrecision(digits)).toLocaleString("en-GB", {maximumFractionDigits: 6})} ${letter}${unit}`;
  };
  self.energy = (joules) => (known(joules) ? self.si(joules / 3600, "Wh") : "missing");
  self.power = (watts) => self.si(watts, "W");
  self.time = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
  // An axis of time in UTC, 24 hours a day.
  const CLOCK = [[60e3, "%H:%M:%S"], [86400e3, "%H:%M"], [27 * 86400e3, "%-d %b"], [Infinity, "%b %Y"]];
  self.timeAxis = (ticks, more) => Plot.axisX({
    ticks, tickSize: 4, fill: MUTED, stroke: MUTED, label: null,
    tickFormat: (date, i, all) => {
      const step = all.length > 1 ? all[1] - all[0] : 86400e3;
      const form = CLOCK.find((one) => step < one[0])[1];
      const day = step < 86400e3 && (i === 0 || all[i - 1].getUTCDate() !== date.getUTCDate()) ? "\n%-d %b" : "";
      return d3.utcFormat(form + day)(date);
    },
    ...more,
  });
  // Where an address of the application lies: as it stands on a server, beside this file in a copy.
  self.href = (path) => {
    if (!copy) return path;
    const plain = path.split("?")[0];
    const deep = document.querySelector("link[rel=stylesheet]").getAttribute("href").split("static/")[0];
    return deep + (plain === "/" ? "index" : plain.slice(1)) + ".html";
  };

  // --- charts -----------------------------------------------------------------------------------
  const drawn = [];
  /* Draws into #chart-NAME: `draw(holder, width)` returns an element or null, and is asked again when the width or the
     figures change. `svg(holder)`, for a chart that is no SVG, returns one to download. */
  self.chart = (name, draw, svg) => {
    const holder = document.getElementById(`chart-${name}`);
    if (!holder) return;
    const one = {holder, draw, last: 0};
    one.redraw = (anyway) => {
      const width = holder.clientWidth;
      if (!width || (width === one.last && !anyway)) return;
      one.last = width;
      const chart = draw(holder, width);
      holder.replaceChildren(...(chart ? [chart] : []));
      // The chart is one picture with a name and a description; its parts are none to anybody who hears the page.
      for (const svg of holder.querySelectorAll("svg")) svg.setAttribute("aria-hidden", "true");
      for (const part of holder.querySelectorAll("svg [aria-label]")) part.removeAttribute("aria-label");
      const figure = holder.closest("figure.chart");
      if (figure) figure.hidden = !chart;
    };
    drawn.push(one);
    one.redraw();
    new ResizeObserver(() => one.redraw()).observe(holder.parentElement || holder);
    offer(name, holder, svg);
  };

  // For what is drawn in colours that do not follow the page: a canvas.
  self.redraw = (name) => drawn.filter((one) => one.holder.id === `chart-${name}`).forEach((one) => one.redraw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("outweigh-theme")));

  function offer(name, holder, svg) {
    const figure = holder.closest("figure.chart");
    const bar = figure && figure.querySelector("[data-take]");
    if (!bar) return;
    const title = (figure.querySelector("h3") || {textContent: name}).textContent;
    const find = () => {
      const found = svg ? svg(holder) : holder.querySelector("svg");
      return found && standalone(found, holder, title);
    };
    const button = (label, act) => {
      const made = document.createElement("button");
      made.type = "button";
      const hidden = document.createElement("span");
      hidden.className = "visually-hidden";
      hidden.textContent = ` of ${title}`;
      made.append(label, hidden);
      made.addEventListener("click", act);
      bar.append(made);
    };
    button("SVG", () => {
      const made = find();
      if (made) save(new Blob([made.text], {type: "image/svg+xml"}), `outweigh-${name}.svg`);
    });
    button("PNG", () => {
      const made = find();
      if (made) picture(made).then((blob) => save(blob, `outweigh-${name}.png`));
    });
  }

  const COPIED = ["color", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity",
    "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "paint-order", "stroke-linejoin", "stroke-linecap"];
  // A drawing that looks the same outside the page: every colour as it is shown now, on the page's paper. Several
  // drawings of one chart stand below each other.
  function standalone(first, holder, title) {
    const all = holder.contains(first) ? [...holder.querySelectorAll("svg")].filter((one) => !one.parentElement.closest("svg")) : [first];
    const ns = "http://www.w3.org/2000/svg";
    const paper = getComputedStyle(document.body).backgroundColor;
    const outer = document.createElementNS(ns, "svg");
    let height = 34, width = 0;
    const parts = all.map((svg) => {
      const box = svg.getBoundingClientRect();
      const w = box.width || +svg.getAttribute("width"), h = box.height || +svg.getAttribute("height");
      const twin = svg.cloneNode(true);
      const from = [svg, ...svg.querySelectorAll("*")], to = [twin, ...twin.querySelectorAll("*")];
      if (svg.isConnected) {
        from.forEach((node, i) => {
          const style = getComputedStyle(node);
          for (const {name, value} of [...to[i].attributes]) if (value.includes("var(")) to[i].removeAttribute(name);
          for (const name of COPIED) to[i].style.setProperty(name, style.getPropertyValue(name));
        });
      }
      for (const style of twin.querySelectorAll("style")) style.remove();
      twin.removeAttribute("class");
      twin.setAttribute("x", "12");
      twin.setAttribute("y", height);
      twin.setAttribute("width", w);
      twin.setAttribute("height", h);
      twin.style.setProperty("overflow", "visible");
      height += h + 8;
      width = Math.max(width, w);
      return twin;
    });
    width += 24;
    height += 8;
    const set = (node, pairs) => { for (const [key, value] of Object.entries(pairs)) node.setAttribute(key, value); return node; };
    set(outer, {xmlns: ns, width, height, viewBox: `0 0 ${width} ${height}`});
    const back = set(document.createElementNS(ns, "rect"), {width, height, fill: paper});
    const head = set(document.createElementNS(ns, "text"), {
      x: 12, y: 22, "font-family": "sans-serif", "font-size": 14, "font-weight": 600, fill: getComputedStyle(document.body).color,
    });
    head.textContent = title;
    outer.append(back, head, ...parts);
    return {text: new XMLSerializer().serializeToString(outer), width, height};
  }

  function picture({text, width, height}) {
    return new Promise((done, failed) => {
      const image = new Image();
      const url = URL.createObjectURL(new Blob([text], {type: "image/svg+xml"}));
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = Math.ceil(2 * width);
        canvas.height = Math.ceil(2 * height);
        const pen = canvas.getContext("2d");
        pen.scale(2, 2);
        pen.drawImage(image, 0, 0);
        URL.revokeObjectURL(url);
        canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the picture is too large"))), "image/png");
      };
      image.onerror = () => failed(new Error("the drawing cannot be read"));
      image.src = url;
    });
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // --- the choice of colours ----------------------------------------------------------------------
  const theme = document.getElementById("theme");
  if (theme) {
    const order = ["auto", "light", "dark"];
    const show = () => { theme.querySelector(".word:last-child").textContent = root.dataset.theme || "auto"; };
    theme.hidden = false;
    show();
    theme.addEventListener("click", () => {
      const next = order[(order.indexOf(root.dataset.theme || "auto") + 1) % order.length];
      if (next === "auto") delete root.dataset.theme;
      else root.dataset.theme = next;
      try {
        if (next === "auto") localStorage.removeItem("outweigh-theme");
        else localStorage.setItem("outweigh-theme", next);
      } catch (refused) {
        // It holds for this page, then.
      }
      show();
      dispatchEvent(new Event("outweigh-theme"));
    });
  }

  // --- looking for something newer ------------------------------------------------------------------
  const fresh = document.getElementById("fresh");
  let timer = 0, typing = false;
  const state = (word, kind, stamp) => {
    fresh.dataset.state = kind;
    fresh.querySelector(".word").textContent = word;
    if (stamp) {
      const time = fresh.querySelector("time");
      time.dateTime = stamp.toISOString();
      time.textContent = `${stamp.toISOString().slice(11, 19)} UTC`;
    }
  };

  async function look() {
    timer = 0;
    try {
      const answer = await fetch(location.href, {cache: "no-cache", headers: {Accept: "text/html"}});
      if (!answer.ok) throw new Error(String(answer.status));
      const later = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = later.getElementById("page-data");
      // Whoever has to log in again is led elsewhere.
      if (!next) throw new Error("another page answered");
      if (next.textContent !== source().textContent && !typing) take(later, next);
      const every = later.getElementById("fresh");
      if (every && every.dataset.every) fresh.dataset.every = every.dataset.every;
      state("live,", "live", new Date());
    } catch (failed) {
      state("not reached since", "stale");
    }
    plan();
  }

  function take(later, next) {
    // What was empty and is not any more has parts that this page lacks: it is loaded again, whole.
    const outer = [...later.querySelectorAll("[data-live][id]")].filter((one) => !one.parentElement.closest("[data-live]"));
    if (outer.some((one) => !document.getElementById(one.id))) {
      location.reload();
      return;
    }
    source().textContent = next.textContent;
    self.data = JSON.parse(next.textContent);
    for (const region of document.querySelectorAll("[data-live][id]")) {
      const newer = later.getElementById(region.id);
      if (!newer || newer.innerHTML === region.innerHTML) continue;
      const stops = [...region.querySelectorAll("a,button,summary,input,select")];
      const at = stops.indexOf(document.activeElement);
      region.replaceChildren(...newer.childNodes);
      if (at >= 0) (region.querySelectorAll("a,button,summary,input,select")[at] || region).focus?.();
    }
    for (const one of drawn) one.redraw(true);
    document.getElementById("told").textContent = `Updated at ${new Date().toISOString().slice(11, 16)} UTC`;
  }

  function plan() {
    clearTimeout(timer);
    timer = 0;
    if (document.hidden) return;
    const every = Math.max(2, +fresh.dataset.every || 30);
    if (every < 30) fresh.dataset.busy = "";
    else delete fresh.dataset.busy;
    timer = setTimeout(look, every * 1000);
  }

  if (fresh && fresh.dataset.every && source()) {
    // Whoever fills in a form keeps the page as it is until it is sent.
    for (const form of document.querySelectorAll("form")) form.addEventListener("input", () => { typing = true; });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        clearTimeout(timer);
        state("paused,", "paused");
      } else look();
    });
    state("live,", "live", new Date(fresh.querySelector("time").dateTime));
    plan();
  }
  return self;
})();
