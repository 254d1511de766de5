/* The page "A kernel to play with": Table 1, both frames and the reduced flow (25).

   The start is chosen so that W, H1 and the within-class covariance share their
   singular directions. (25) keeps it so: along class direction k the classifier
   has length w, the class means have length h and the samples scatter by s,

     w' = -m ((w h - 1) h + w s),   h' = -mu_class w (w h - 1),   s' = -2 mu_single w^2 s,

   and along the mean, with one bias beta for all classes, r = w h + C beta - 1,

     w' = -m r h,   h' = -lambda_global w r,   beta' = -m r.

   Class directions come in two kinds, odd and even, so nine numbers say it all:
   y = [w, h, s of the odd ones,  w, h, s of the even ones,  w, h of the mean, beta].

   Plots: uPlot. Integration: odex, a port of Hairer and Wanner's ODEX with error
   control. Both lie in vendor/ with their licences. Nothing is fetched. */
"use strict";

(() => {
  const { Solver } = window.exports; // where odex, written for another module system, puts itself
  delete window.exports;

  const TIMES = Array.from({ length: 251 }, (_, i) => 10 ** (-3 + i / 50)); // 0.001 to 100
  const HEAD_START = [0.3, 0.02]; // w² at t = 0 over its value at a balanced end: odd, even kind
  const FLOOR = 1e-8; // what a plot shows at the least; the solver's tolerance is below

  const SLIDERS = ["diag", "within", "across", "m", "C", "bias", "size"];

  const $ = (id) => document.getElementById(`play-${id}`);
  const sum = (terms) => terms.reduce((total, term) => total + term, 0);

  // --- the theory -----------------------------------------------------------

  /** What the sliders say, with the eigenvalues of Table 1 and the closed forms (30), (65). */
  function settings() {
    const [diag, within, across, m, C, bias, size] = SLIDERS.map((id) => Number($(id).value));
    const single = diag - within;
    const class_ = single + m * (within - across);
    const global = class_ + m * C * across;
    const root = Math.sqrt(class_ / global); // √(1 − αC)
    return {
      m, C, bias, single, class_, global,
      place: document.querySelector("input[name=play-place]:checked").value, alpha: (across * m) / global,
      rho: (1 - Math.abs(1 - bias) * root) / C,
      phi: (1 - Math.abs(1 - bias) / root) / C,
      kinds: [Math.ceil((C - 1) / 2), Math.floor((C - 1) / 2)], // how many odd, how many even
      // E along an odd direction of a balanced end, per unit of the slider; its norm there
      unit: 1 / Math.sqrt(m * class_),
      norm: size * Math.sqrt((C - 1) / (m * class_)),
      size,
    };
  }

  /** The state at t = 0, and the scatter in one direction that the classifier does not see. */
  function start(p) {
    const e = { even: [1, 1], uneven: [1, -1], unseen: [0, 0] }[p.place].map(
      (sign) => sign * p.size * p.unit,
    );
    const y = [0, 1].flatMap((kind) => {
      const least = HEAD_START[kind] * p.unit;
      const features = least + Math.max(-e[kind], 0); // (26): w²/m = features + e
      const h2 = features / (1 / p.class_ + 1 / p.single); // s = h², so that NC1 starts at 1
      return [Math.sqrt(p.m * (least + Math.max(e[kind], 0))), Math.sqrt(h2), h2];
    });
    // Balanced along the mean, ln w ∓ κβ is conserved: this w leads from β = 0 to the asked β.
    const kappa = Math.sqrt(p.global / p.m);
    const sign = p.bias > 1 ? -1 : 1;
    const w = Math.sqrt(Math.abs(1 - p.bias) / kappa) * Math.exp((-sign * kappa * p.bias) / p.C);
    return { y: [...y, w, sign * kappa * w, 0], unseen: p.place === "unseen" ? p.single * p.norm : 0 };
  }

  /** The right-hand side of (25) in the nine numbers. */
  const velocity = (p) => (_, [w1, h1, s1, w2, h2, s2, w, h, beta]) => {
    const r1 = w1 * h1 - 1, r2 = w2 * h2 - 1, r = w * h + p.C * beta - 1;
    return [
      -p.m * (r1 * h1 + w1 * s1), -p.class_ * w1 * r1, -2 * p.single * w1 * w1 * s1,
      -p.m * (r2 * h2 + w2 * s2), -p.class_ * w2 * r2, -2 * p.single * w2 * w2 * s2,
      -p.m * r * h, -p.global * w * r, -p.m * r,
    ];
  };

  /** The states at TIMES. */
  function integrate(p, y) {
    const solver = new Solver(y.length);
    Object.assign(solver, {
      denseOutput: true, relativeTolerance: 1e-9, absoluteTolerance: 1e-13, maxSteps: 200000,
    });
    const states = [];
    const { outcome } = solver.solve(velocity(p), 0, y, TIMES.at(-1), (step, _, t, __, at) => {
      while (step > 1 && states.length < TIMES.length && TIMES[states.length] <= t * (1 + 1e-14)) {
        const when = Math.min(TIMES[states.length], t);
        states.push(y.map((_, i) => at(i, when)));
      }
    });
    if (outcome !== 0 || states.length < TIMES.length) throw new Error("the solver gave up");
    return states;
  }

  /** Everything that is shown of one state. */
  function measure(p, y, unseen) {
    const odd = y.slice(0, 3), even = y.slice(3, 6), [w, h, beta] = y.slice(6);
    const overClasses = (f) => p.kinds[0] * f(...odd) + p.kinds[1] * f(...even);
    const w2 = overClasses((w) => w * w), h2 = overClasses((_, h) => h * h);
    const flat = 1 / Math.sqrt(p.C - 1), h4 = overClasses((_, h) => h ** 4);
    const wNorm = Math.sqrt(w2 + w * w), hNorm = Math.sqrt(h2), scatter = overClasses((_, __, s) => s);
    const along = (w, h, s) => (w * w) / p.m - (h * h) / p.class_ - s / p.single;
    const E = [along(...odd), along(...even), (w * w) / p.m - (h * h) / p.global, -unseen / p.single];
    const norm = ([a, b, ...rest]) =>
      Math.sqrt(p.kinds[0] * a * a + p.kinds[1] * b * b + sum(rest.map((x) => x * x)));
    const weights = [odd[0] ** 2, even[0] ** 2, w * w, 0].map((x) => x / p.m);
    const loss = overClasses((w, h, s) => (w * h - 1) ** 2 + w * w * s) + (w * h + p.C * beta - 1) ** 2;
    return {
      nc1: (scatter + unseen) / h2,
      nc2: Math.sqrt(overClasses((_, h) => (h * h / Math.sqrt(h4) - flat) ** 2)),
      nc3: Math.sqrt(overClasses((w, h) => (h / hNorm - w / wNorm) ** 2) + (w / wNorm) ** 2),
      residual: Math.sqrt(Math.max(loss, 0) / p.C), // ‖R‖ / ‖Y‖
      rho: (1 - (w * w * (p.C - 1)) / w2) / p.C,
      phi: (1 - (h * h * (p.C - 1)) / h2) / p.C,
      E, norm: norm(E), weights: norm(weights), features: norm(weights.map((x, i) => x - E[i])), y,
    };
  }

  /** The flow for the present settings: one record of `measure` for each time. */
  function run(p) {
    const { y, unseen } = start(p);
    const before = measure(p, y, unseen).E;
    const rows = integrate(p, y).map((state) => measure(p, state, unseen));
    const drift = Math.max(...rows.flatMap((row) => row.E.map((e, i) => Math.abs(e - before[i]))));
    return { rows, drift, unseen };
  }

  // --- numbers as text --------------------------------------------------------

  const raised = (n) => [...String(n)].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("");

  /** Three digits, powers of ten spelt out. */
  function format(x) {
    if (x === 0 || !Number.isFinite(x)) return x === 0 ? "0" : "—";
    const size = Math.abs(x);
    if (size >= 0.001 && size < 10000) return String(Number(x.toPrecision(3))).replace("-", "−");
    const [digits, power] = x.toExponential(1).split("e");
    return `${digits.replace("-", "−")}·10${raised(Number(power))}`;
  }

  const small = (x) => (x < FLOOR ? `below 10${raised(-8)}` : format(x));

  /** The angle between two vectors of a frame with Gram matrix I − c 11ᵀ. */
  const angle = (c) => `${((Math.acos(Math.max(-1, -c / (1 - c))) * 180) / Math.PI).toFixed(1)}°`;

  /** Put a number on the page, rounded for the eye and whole for whoever asks the element. */
  function show(id, x, as = format) {
    $(id).textContent = as(x);
    $(id).dataset.value = x;
  }

  // --- plots ------------------------------------------------------------------

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--play-${name}`);

  /** A plot over time with a mark at the chosen time, which a pointer can move. */
  function plot(id, lines, logarithmic) {
    const box = $(id), font = "12px sans-serif", height = 230;
    const axis = { stroke: () => colour("ink"), grid: { stroke: () => colour("grid"), width: 1 }, font };
    const powers = (...exponents) => ({ // at these powers of ten, all of which have room
      splits: () => exponents.map((n) => 10 ** n), filter: (_, at) => at,
      values: (_, at) => at.map((x) => `10${raised(Math.round(Math.log10(x)))}`),
    });
    const chart = new uPlot({
      width: box.clientWidth, height, legend: { show: false }, padding: [8, 12, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { time: false, distr: 3, range: () => [TIMES[0], TIMES.at(-1)] },
        y: logarithmic ? { distr: 3, range: () => [FLOOR, 10] } : { range: (_, __, top) => [0, 1.1 * top || 1] },
      },
      axes: [
        { ...axis, ...powers(-3, -2, -1, 0, 1, 2), size: 40, label: "time t", labelSize: 18, labelFont: font },
        { ...axis, size: 46, ...(logarithmic ? powers(-8, -6, -4, -2, 0) : {}) },
      ],
      series: [{}, ...lines.map(([name, width, dash]) => ({ stroke: () => colour(name), width, dash, points: { show: false } }))],
      hooks: { draw: [(u) => { // the chosen time
        u.ctx.fillStyle = colour("ink");
        u.ctx.fillRect(u.valToPos(TIMES[$("time").value], "x", true), u.bbox.top, devicePixelRatio, u.bbox.height);
      }] },
    }, [TIMES, ...lines.map(() => TIMES.map(() => 1))], box);
    for (const kind of ["pointerdown", "pointermove"]) {
      chart.over.addEventListener(kind, (event) => {
        if (!event.buttons) return;
        $("time").value = chart.posToIdx(event.clientX - chart.over.getBoundingClientRect().left);
        stop();
        drawTime();
      });
    }
    new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height })).observe(box);
    return chart;
  }

  // --- the drawing of both frames ------------------------------------------------

  /** Up to 12 samples of a class in three directions: mean 0 and variance 1 in each. */
  function cloud(m) {
    const samples = Array.from({ length: Math.min(m, 12) }, (_, j) => { // turned by the golden angle
      const radius = Math.sqrt(j + 0.5), turn = 2.39996 * j;
      return [radius * Math.cos(turn), radius * Math.sin(turn), (j * 0.618) % 1];
    });
    const mean = (f) => sum(samples.map(f)) / samples.length;
    const middle = [0, 1, 2].map((i) => mean((z) => z[i]));
    const width = [0, 1, 2].map((i) => Math.sqrt(mean((z) => (z[i] - middle[i]) ** 2)));
    return samples.map((z) => z.map((x, i) => (x - middle[i]) / width[i]));
  }

  /** Class means, samples and classifier rows at a time, from above and from the side.

      Of an orthonormal basis of class directions the first two are the cosine and the sine
      of 2πc/C, so class c lies on a polygon. Lengths are in units of those at the end. */
  function drawFrames(at) {
    const { rows, unseen } = flow, now = rows[at].y, last = rows.at(-1).y;
    const ends = [0, 1].map((i) => // of w and of h
      Math.sqrt((p.kinds[0] * last[i] ** 2 + p.kinds[1] * last[i + 3] ** 2) / (p.C - 1)));
    const spread = [now[2], now[5], unseen].map((s) => Math.sqrt(Math.max(s, 0) / 2) / ends[1]);
    const frame = (i) => Array.from({ length: p.C }, (_, c) => {
      const turn = (2 * Math.PI * c) / p.C + Math.PI / 2;
      return [now[i] * Math.cos(turn), now[i + 3] * Math.sin(turn), now[i + 6] / Math.SQRT2].map((x) => x / ends[i]);
    });
    const [heads, means, samples] = [frame(0), frame(1), cloud(p.m)];
    const reach = (...places) => Math.max(1.2, ...rows.flatMap(({ y }) => places.map((i) => Math.abs(y[i]) / ends[i % 3])));
    const flatly = reach(0, 1, 3, 4);
    const views = { above: [1, flatly], side: [2, Math.max(flatly, reach(6, 7) / Math.SQRT2, 2 * spread[2])] };
    for (const [id, [up, span]] of Object.entries(views)) {
      const flat = (v) => [v[0], -v[up]].map((x) => ((84 * x) / span).toFixed(2));
      const use = (name) => (v) => `<use href="#play-${name}" class="${name}" x="${flat(v)[0]}" y="${flat(v)[1]}"/>`;
      const around = (mean) => samples.map((z) => mean.map((x, i) => x + z[i] * spread[i]));
      $(id).innerHTML = [
        '<path d="M-96 0H96M0 -96V96" class="axis"/>',
        `<polygon points="${means.map(flat).join(" ")}" class="outline"/>`,
        ...means.flatMap(around).map(use("sample")),
        ...heads.map((v) => `<path d="M0 0L${flat(v).join(" ")}" class="ray"/>`),
        ...means.map(use("mean")), ...heads.map(use("row")),
      ].join("");
    }
  }

  // --- putting it on the page ---------------------------------------------------

  let p, flow, charts = [], playing = 0, telling = 0;

  /** Keep κ_d > κ_c ≥ κ_n: the slider that was moved pushes the others. */
  function order(moved) {
    const value = (id) => Number($(id).value);
    if (moved === "across") $("within").value = Math.max(value("within"), value("across"));
    if (moved !== "diag") $("diag").value = Math.max(value("diag"), value("within") + 0.1);
    $("within").value = Math.min(value("within"), value("diag") - 0.1);
    $("across").value = Math.min(value("across"), value("within"));
  }

  /** Solve for the present settings and show everything. */
  function update() {
    p = settings();
    for (const id of SLIDERS) $(`${id}-value`).textContent = format(Number($(id).value));
    const rates = { single: [p.single, p.m * p.C - p.C], class: [p.class_, p.C - 1], global: [p.global, 1] };
    for (const [name, [rate, times]] of Object.entries(rates)) {
      show(name, rate);
      show(`${name}-times`, times);
      show(`${name}-tenth`, Math.LN10 / rate);
      $(`${name}-bar`).style.width = `${(100 * Math.log10(rate / 0.05)) / Math.log10(40000)}%`;
    }
    show("alpha", p.alpha);
    for (const name of ["rho", "phi"]) {
      show(`${name}-end`, p[name]);
      show(`${name}-end-angle`, p[name], angle);
    }
    flow = run(p);
    show("drift", flow.drift);
    const column = (name) => flow.rows.map((row) => row[name]);
    const seen = (name) => column(name).map((x) => (x < FLOOR ? null : x));
    charts[0].setData([TIMES, seen("residual"), seen("nc1"), seen("nc2"), seen("nc3")]);
    charts[1].setData([TIMES, column("weights"), column("features"), column("norm")]);
    drawTime();
  }

  /** Show the state at the chosen time. */
  function drawTime() {
    const at = Number($("time").value), row = flow.rows[at], t = format(TIMES[at]);
    $("time-value").textContent = t;
    $("time").setAttribute("aria-valuetext", `t = ${t}`);
    for (const name of ["nc1", "nc2", "nc3", "residual", "norm"]) show(name, row[name], small);
    for (const name of ["weights", "features", "rho", "phi"]) show(name, row[name]);
    for (const name of ["rho", "phi"]) show(`${name}-angle`, row[name], angle);
    drawFrames(at);
    for (const chart of charts) chart.redraw(false);
    clearTimeout(telling); // words follow when the reader pauses, or a screen reader never ends
    telling = setTimeout(tell, 500, row, t);
  }

  /** The same in words: on the page, and as the names of the pictures. */
  function tell(row, t) {
    const angles = `Two rows of the classifier meet at ${angle(row.rho)}, two class means at ${angle(row.phi)}.`;
    const nc = `NC1 is ${small(row.nc1)}, NC2 ${small(row.nc2)}, NC3 ${small(row.nc3)}`;
    $("words").textContent = `Rates: ${format(p.single)} for single samples, ${format(p.class_)} for classes, ${format(p.global)} for the mean. At time ${t}: ${nc}. ${angles} The norm of E is ${small(row.norm)} and no entry of E has moved by more than ${format(flow.drift)}.`;
    const last = flow.rows.at(-1);
    $("nc").setAttribute("aria-label", `NC1, NC2 and NC3 over time. At time ${t}, ${nc}. At time 100: ${small(last.nc1)}, ${small(last.nc2)} and ${small(last.nc3)}.`);
    $("invariant").setAttribute("aria-label", `Norms over time. At time ${t}, the classifier's part of E is ${format(row.weights)}, the features' part ${format(row.features)}; their difference E keeps its norm, ${small(row.norm)}.`);
    $("frames").setAttribute("aria-label", `${p.C} class means, each amid its samples, and ${p.C} classifier rows, seen from above and from the side. ${angles}`);
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    $("play").textContent = "Play";
  }

  /** Run through time once, in five seconds. */
  function play() {
    const began = performance.now(), from = Number($("time").value) % 250;
    $("play").textContent = "Pause";
    playing = requestAnimationFrame(function frame(now) {
      const at = Math.min(250, Math.round(from + Math.max(0, now - began) / 20));
      $("time").value = at;
      drawTime();
      if (at < 250) playing = requestAnimationFrame(frame);
      else stop();
    });
  }

  // Begin. Without scripts the page shows a picture instead.
  $("app").hidden = false;
  const dashed = [10, 5], dotted = [3, 4];
  charts = [
    plot("nc", [["quiet", 1.5], ["nc1", 2.5], ["nc2", 2.5, dashed], ["nc3", 2.5, dotted]], true),
    plot("invariant", [["nc1", 2.5], ["nc2", 2.5, dashed], ["nc3", 3, dotted]], false),
  ];
  for (const id of SLIDERS) $(id).addEventListener("input", () => { order(id); update(); });
  for (const radio of document.getElementsByName("play-place")) radio.addEventListener("change", update);
  $("time").addEventListener("input", () => { stop(); drawTime(); });
  $("play").addEventListener("click", () => (playing ? stop() : play()));
  for (const button of document.querySelectorAll("[data-play]")) {
    button.addEventListener("click", () => {
      $("controls").reset();
      const { place, ...sliders } = { time: 250, place: "uneven", ...JSON.parse(button.dataset.play) };
      for (const [id, value] of Object.entries(sliders)) $(id).value = value;
      document.querySelector(`input[name=play-place][value=${place}]`).checked = true;
      stop();
      update();
      $("app").scrollIntoView({ block: "start" });
    });
  }
  const inks = new MutationObserver(() => charts.forEach((chart) => chart.redraw()));
  inks.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  update();
})();
