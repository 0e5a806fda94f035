// Histograms of activations, or of gradients, through the layers, for the initial scale chosen.
"use strict";
lecture.widget("init", (root, data, kit) => {
  const activations = Object.keys(data.activations);
  const scales = data.activations[activations[0]].settings.map((s) => s.multiple);
  const one = scales.reduce((best, m, i) => (Math.abs(Math.log(m)) < Math.abs(Math.log(scales[best])) ? i : best), 0);
  const state = { activation: activations[0], scale: one, show: "activations" };
  const setting = () => data.activations[state.activation].settings[state.scale];
  const range = () => (state.show === "gradients" ? data.decades : data.activations[state.activation].range);
  const short = (v) => (v === 0 || (Math.abs(v) >= 0.01 && Math.abs(v) < 1000) ? String(Number(v.toPrecision(3))) : v.toExponential(1));
  const percent = (v) => `${(100 * v).toFixed(1)} %`;

  // One row of height 0.9 for each layer, the first on top.
  function traces() {
    const { [state.show]: measured, predicted } = setting();
    const [low, high] = range();
    const colour = kit.colours[activations.indexOf(state.activation)];
    return measured.flatMap((bins, l) => {
      const width = (high - low) / bins.length;
      const lines = state.show === "activations" ? predicted[l] : null;
      const tallest = Math.max(...bins, ...(lines ?? []), 1);
      const height = (v) => (0.9 * v) / tallest - l - 1;
      const steps = bins.flatMap((v, i) => [[low + i * width, height(v)], [low + (i + 1) * width, height(v)]]);
      const outline = [[low, height(0)], ...steps, [high, height(0)]];
      const made = [{
        x: outline.map((p) => p[0]), y: outline.map((p) => p[1]), name: "measured", legendgroup: "measured",
        mode: "lines", fill: "toself", line: { width: 1, color: colour }, showlegend: l === 0, hoverinfo: "skip",
      }];
      if (lines) made.push({
        x: lines.map((_, i) => low + (i + 0.5) * width), y: lines.map(height), name: "predicted", legendgroup: "predicted",
        mode: "lines", line: { width: 2, color: kit.colours[6] }, showlegend: l === 0, hoverinfo: "skip",
      });
      return made;
    });
  }

  function layout() {
    const layers = setting().std.map((_, l) => l + 1);
    const [low, high] = range();
    const whole = Array.from({ length: Math.floor((high - low) / 3) + 1 }, (_, i) => low + 3 * i);
    const x = state.show === "gradients"
      ? { tickvals: whole, ticktext: whole.map((v) => `10<sup>${v}</sup>`), title: { text: "|∂L/∂z|" } }
      : { title: { text: `activation, ${data.names[state.activation]}` } };
    return {
      height: 520,
      xaxis: { ...x, range: [low, high], zeroline: false },
      yaxis: { tickvals: layers.map((l) => -l), ticktext: layers.map(String), title: { text: "layer" }, range: [-layers.length - 0.2, 0], zeroline: false },
    };
  }

  function rows() {
    const s = setting();
    return s.std.map((std, l) => [l + 1, short(std), short(s.predicted_std[l]), percent(s.flat[l]), short(s.gradient[l])]);
  }

  function say() {
    const s = setting();
    const flat = data.flat_names[state.activation];
    const last = s.std.length - 1;
    return (
      `${data.names[state.activation]}, ${short(s.multiple)} × ${data.schemes[state.activation]}: ` +
      `std ${s.std.map(short).join(", ")} in layers 1 to ${last + 1}; ` +
      `${flat} ${percent(s.flat[0])} in layer 1, ${percent(s.flat[last])} in layer ${last + 1}; ` +
      `gradient ${short(s.gradient[0])} in layer 1, ${short(s.gradient[last])} in layer ${last + 1}.`
    );
  }

  const controls = kit.row(root);
  const choices = activations.map((a) => [a, `${data.names[a]}, ${data.schemes[a]}`]);
  const redraw = () => {
    plot.update(traces(), layout());
    table.update(rows());
    output.textContent = say();
  };
  kit.choice(controls, { label: "activation", options: choices, value: state.activation }, (v) => { state.activation = v; redraw(); });
  kit.choice(
    controls,
    { label: "show", options: [["activations", "activations"], ["gradients", "gradients"]], value: state.show },
    (v) => { state.show = v; redraw(); },
  );
  kit.slider(
    controls,
    { label: "initial std, as a multiple of the scheme's", min: 0, max: scales.length - 1, step: 1, value: one, show: (i) => `${short(scales[i])} ×` },
    (i) => { state.scale = i; redraw(); },
  );
  const plot = kit.plot(root, traces(), layout(), "A histogram for each of the layers, the first on top.");
  const output = kit.output(root);
  output.textContent = say();
  const table = kit.table(root, ["layer", "std", "predicted", "saturated or zero", "gradient (rms)"], rows());
});
