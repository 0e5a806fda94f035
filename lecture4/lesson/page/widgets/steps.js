// Steps of SGD and Adam on a long valley L = ½(c₁u² + c₂v²), (u, v) = (x, y) turned, as lecture4.byhand.optim takes them.
"use strict";
lecture.widget("steps", (root, data, kit) => {
  const state = { kind: "sgd", log: -1.5, mu: 0, beta1: 0.9, beta2: 0.999, steps: 50, turn: 0 };
  const names = {
    sgd: "SGD",
    nesterov: "SGD, Nesterov",
    adam: "Adam",
    uncorrected: "Adam without bias correction",
  };
  const reach = [5, 3.5];
  const eps = 1e-8;

  function turned([x, y], sign) {
    const angle = (state.turn * Math.PI) / 180;
    const [c, s] = [Math.cos(angle), sign * Math.sin(angle)];
    return [c * x + s * y, c * y - s * x];
  }
  const loss = (w) => turned(w, 1).reduce((sum, u, i) => sum + (data.curvatures[i] * u * u) / 2, 0);
  const gradient = (w) => turned(turned(w, 1).map((u, i) => data.curvatures[i] * u), -1);

  const updates = {
    sgd(g, memory, t) {
      memory.v = g.map((gi, i) => (t === 1 ? gi : state.mu * memory.v[i] + gi));
      return memory.v;
    },
    nesterov(g, memory, t) {
      return updates.sgd(g, memory, t).map((v, i) => g[i] + state.mu * v);
    },
    uncorrected(g, memory) {
      const { beta1, beta2 } = state;
      memory.m = g.map((gi, i) => beta1 * (memory.m?.[i] ?? 0) + (1 - beta1) * gi);
      memory.v = g.map((gi, i) => beta2 * (memory.v?.[i] ?? 0) + (1 - beta2) * gi * gi);
      return memory.m.map((m, i) => m / (Math.sqrt(memory.v[i]) + eps));
    },
    adam(g, memory, t) {
      updates.uncorrected(g, memory);
      const [first, second] = [1 - state.beta1 ** t, 1 - state.beta2 ** t];
      return memory.m.map((m, i) => m / first / (Math.sqrt(memory.v[i] / second) + eps));
    },
  };

  function path() {
    const places = [data.start];
    const memory = {};
    for (let t = 1; t <= state.steps; t++) {
      const w = places.at(-1);
      const update = updates[state.kind](gradient(w), memory, t);
      places.push(w.map((wi, i) => wi - 10 ** state.log * update[i]));
    }
    return places;
  }

  const axis = (to, n) => Array.from({ length: n }, (_, i) => to * ((2 * i) / (n - 1) - 1));
  function valley() {
    const [x, y] = [axis(reach[0], 61), axis(reach[1], 43)];
    return {
      type: "contour",
      x,
      y,
      z: y.map((b) => x.map((a) => Math.sqrt(loss([a, b])))),
      contours: { coloring: "lines", start: 1, end: 13, size: 1.5 },
      colorscale: [0, 1].map((at) => [at, kit.colours[7]]),
      line: { width: 1 },
      showscale: false,
      hoverinfo: "skip",
    };
  }
  // A path that diverges is drawn as far as a browser can.
  function shown(places) {
    const out = places.findIndex(([x, y]) => !(Math.abs(x) < 1e3 && Math.abs(y) < 1e3));
    return out < 0 ? places : places.slice(0, out);
  }
  function traces(places) {
    const drawn = shown(places);
    const points = (list, name, style) => ({
      x: list.map((w) => w[0]),
      y: list.map((w) => w[1]),
      name,
      ...style,
    });
    const [blue, orange, green] = kit.colours;
    const way = { mode: "lines+markers", line: { color: blue, width: 1.5 }, marker: { color: blue, size: 5 } };
    return [
      valley(),
      points(drawn, "steps", way),
      points([[0, 0]], "minimum", { mode: "markers", marker: { color: green, size: 12, symbol: "x" } }),
      points(drawn.slice(-1), "end", { mode: "markers", marker: { color: orange, size: 11 } }),
    ];
  }
  const layout = {
    height: 420,
    xaxis: { range: [-reach[0], reach[0]], constrain: "domain", title: { text: "x" } },
    yaxis: { range: [-reach[1], reach[1]], scaleanchor: "x", constrain: "domain", title: { text: "y" } },
  };

  const number = (value) => (Number.isFinite(value) ? value.toPrecision(5) : "NaN or ∞");
  function say(places) {
    const end = places.at(-1);
    const steps = `${state.steps} step${state.steps === 1 ? "" : "s"}`;
    return (
      `${names[state.kind]}, η = ${rate(state.log)}, after ${steps}: ` +
      `x = ${number(end[0])}, y = ${number(end[1])}, loss ${number(loss(end))} ` +
      `(at the start ${number(loss(data.start))}).`
    );
  }

  const rate = (log) => Number((10 ** log).toPrecision(3)).toString();
  const top = kit.row(root);
  const moments = { sgd: kit.row(root), adam: kit.row(root) };
  const slider = (row, key, label, min, max, step, show) =>
    kit.slider(row, { label, min, max, step, value: state[key], show }, (value) => change(key, value));
  kit.choice(
    top,
    { label: "Optimizer", options: Object.entries(names), value: state.kind },
    (value) => change("kind", value),
  );
  slider(top, "log", "Learning rate η", -3, 0.5, 0.05, rate);
  slider(top, "steps", "Steps", 1, data.steps, 1, (v) => `${v}`);
  slider(top, "turn", "Valley turned by", 0, 45, 1, (v) => `${v}°`);
  slider(moments.sgd, "mu", "Momentum μ", 0, 0.99, 0.01, (v) => v.toFixed(2));
  slider(moments.adam, "beta1", "β₁", 0, 0.99, 0.01, (v) => v.toFixed(2));
  slider(moments.adam, "beta2", "β₂", 0.9, 0.999, 0.001, (v) => v.toFixed(3));
  const plot = kit.plot(root, traces(path()), layout, "Steps of the optimizer over contour lines of the loss.");
  const output = kit.output(root);
  show();

  function change(key, value) {
    state[key] = value;
    show();
  }
  function show() {
    const places = path();
    moments.sgd.style.display = ["sgd", "nesterov"].includes(state.kind) ? "" : "none";
    moments.adam.style.display = ["adam", "uncorrected"].includes(state.kind) ? "" : "none";
    plot.update(traces(places), layout);
    output.textContent = say(places);
  }
});
