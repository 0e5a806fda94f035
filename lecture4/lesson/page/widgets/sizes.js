// How many positions a window has along one side: ⌊(N + 2P − F)/S⌋ + 1, as lecture4.byhand.functional.windows counts.
"use strict";
lecture.widget("sizes", (root, data, kit) => {
  const state = { n: data.n, f: data.f, s: data.s, p: data.p, d: data.d };
  const names = { n: "input size", f: "kernel_size", s: "stride", p: "padding", d: "dilation" };
  const least = { n: 1, f: 1, s: 1, p: 0, d: 1 };
  const most = { n: 256, f: 32, s: 32, p: 32, d: 16 }; // larger values are not drawn
  const letters = { n: "N", f: "F", s: "S", p: "P", d: "D" };

  const reach = ({ f, d }) => d * (f - 1) + 1;
  const room = (at) => at.n + 2 * at.p - reach(at);
  const size = (at) => Math.floor(room(at) / at.s) + 1;
  const tiles = (at) => room(at) >= 0 && room(at) % at.s === 0;
  const range = (from, to) => Array.from({ length: Math.max(to - from + 1, 0) }, (_, i) => from + i);
  const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;

  function refusal(at) {
    for (const key of ["n", "f", "s", "p", "d"]) {
      if (!Number.isInteger(at[key]) || at[key] < least[key]) {
        return `${names[key]} must be a whole number ≥ ${least[key]}`;
      }
    }
    for (const key of ["n", "f", "s", "p", "d"]) {
      if (at[key] > most[key]) return `${names[key]} is drawn up to ${most[key]} here`;
    }
    if (room(at) >= 0) return null;
    const padded = at.n + 2 * at.p;
    const dilated = at.d > 1 ? ` with dilation=${at.d} reaches over ${reach(at)} pixels and` : "";
    return `kernel_size=${at.f}${dilated} is larger than its padded input ${at.n} + 2·${at.p} = ${padded}; ` +
      `use kernel_size ≤ ${Math.floor((padded - 1) / at.d) + 1} or padding ≥ ${Math.ceil((reach(at) - at.n) / 2)}`;
  }

  // For each setting by itself, the nearest values that tile. No more padding than half a window, except
  // where the entered one is more already: a window should see some of the image.
  function near(at) {
    const fits = (key, value) => {
      const other = { ...at, [key]: value };
      return tiles(other) && (key === "n" || key === "s" || 2 * other.p <= reach(other));
    };
    const padded = at.n + 2 * at.p;
    const values = {
      f: range(1, padded), p: range(0, at.f - 1), s: range(1, padded), n: range(Math.max(1, at.n - at.s), at.n + at.s),
    };
    return Object.entries(values).map(([key, all]) => {
      const found = all.filter((value) => value !== at[key] && fits(key, value));
      found.sort((a, b) => Math.abs(a - at[key]) - Math.abs(b - at[key]) || a - b);
      return { key, fitting: found.slice(0, 3) };
    });
  }

  function rows(at) {
    const possible = Object.keys(least).every(
      (key) => Number.isInteger(at[key]) && at[key] >= least[key] && at[key] <= most[key],
    );
    if (!possible) return [];
    return near(at).map(({ key, fitting }) => [
      `${letters[key]} in place of ${at[key]}`,
      fitting.map((value) => `${letters[key]} = ${value} → ${size({ ...at, [key]: value })}`).join(",  ") || "none",
    ]);
  }

  // Pixels 1 … N of the image that no cell of any window meets.
  function unseen(at) {
    const met = new Set();
    for (let i = 0; i < size(at); i++) for (let a = 0; a < at.f; a++) met.add(i * at.s + a * at.d - at.p + 1);
    return range(1, at.n).filter((pixel) => !met.has(pixel));
  }

  function text(at) {
    const refused = refusal(at);
    if (refused) return `refused: ${refused}`;
    const over = at.d > 1 ? `, where F reaches over ${reach(at)} pixels` : "";
    const exact = `(${at.n} + 2·${at.p} − ${reach(at)})/${at.s} + 1`;
    const missed = unseen(at).length;
    return [
      tiles(at) ? `output size ${size(at)} = ${exact}${over}` :
        `output size ${size(at)} = ⌊(${at.n} + 2·${at.p} − ${reach(at)})/${at.s}⌋ + 1${over}; ` +
        `without the floor ${Number((room(at) / at.s + 1).toPrecision(6))}`,
      tiles(at) ? "The windows tile the padded side." :
        `The windows do not tile the padded side: ${plural(room(at) % at.s, "pixel")} left over at its end.`,
      missed ? `${plural(missed, "pixel")} of the image in no window.` : "Every pixel of the image is in a window.",
    ].join("\n");
  }

  const [image, padding, window, lost] = [kit.colours[0], kit.colours[7], kit.colours[1], kit.colours[6]];
  function traces(at) {
    if (refusal(at)) return [];
    const shown = Math.min(size(at), 60); // windows; a longer list would be a grey block
    const missed = new Set(unseen(at));
    const side = at.n + 2 * at.p;
    const marker = Math.max(3, Math.min(10, 300 / side));
    const pixels = range(1 - at.p, at.n + at.p);
    const row = (name, color, symbol, of) => ({
      type: "scatter", mode: "markers", name, x: of, y: of.map(() => 0), marker: { color, symbol, size: marker },
      hovertemplate: "pixel %{x}<extra></extra>",
    });
    const lines = { x: [], y: [] };
    const cells = { x: [], y: [] };
    for (let i = 0; i < shown; i++) {
      const first = i * at.s - at.p + 1;
      lines.x.push(first, first + reach(at) - 1, null);
      lines.y.push(i + 1, i + 1, null);
      for (let a = 0; a < at.f; a++) {
        cells.x.push(first + a * at.d);
        cells.y.push(i + 1);
      }
    }
    const inside = (x) => x >= 1 && x <= at.n;
    return [
      row("image", image, "square", pixels.filter((x) => inside(x) && !missed.has(x))),
      row("padding", padding, "square-open", pixels.filter((x) => !inside(x))),
      row("in no window", lost, "x", [...missed]),
      { type: "scatter", mode: "lines", name: "windows", ...lines, line: { color: window, width: 2 }, hoverinfo: "skip" },
      {
        type: "scatter", mode: "markers", ...cells, marker: { color: window, size: Math.max(3, marker * 0.7) },
        showlegend: false, hovertemplate: "window %{y}, pixel %{x}<extra></extra>",
      },
    ].filter((trace) => trace.x.length);
  }

  function layout(at) {
    const count = refusal(at) ? 1 : Math.min(size(at), 60);
    const step = Math.ceil(count / 12);
    return {
      height: 420,
      xaxis: { title: "pixel of the side", fixedrange: true, zeroline: false },
      yaxis: {
        title: "window", range: [count + 0.7, -0.7], fixedrange: true, zeroline: false,
        tickvals: range(1, count).filter((i) => (i - 1) % step === 0),
      },
    };
  }

  const controls = kit.row(root);
  const field = (key, label) => kit.number(
    controls, { label, min: least[key], max: most[key], step: 1, value: state[key] },
    (value) => { state[key] = value; update(); },
  );
  field("n", "N, side of the input");
  field("f", "F, side of the window");
  field("s", "S, stride");
  field("p", "P, padding");
  field("d", "D, dilation");

  const output = kit.output(root);
  const table = kit.table(root, ["one setting changed", "nearest that tile → output size"], []);
  const plot = kit.plot(root, [], layout(state), "The side's pixels, and each window over them");

  function update() {
    output.textContent = text(state);
    table.update(rows(state));
    plot.update(traces(state), layout(state));
  }
  update();
});
