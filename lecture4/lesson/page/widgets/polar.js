// The points of the rings, moved by a slider from (x, y) to (r, θ), and the best straight line between them.
lecture.widget("polar", (root, data, kit) => {
  const last = data.way.length - 1;
  const mix = (from, to, t) => from.map((v, i) => (1 - t) * v + t * to[i]);
  const polar = ([x, y]) => [Math.hypot(x, y), Math.atan2(y, x)];
  const plane = ([r, theta]) => [r * Math.cos(theta), r * Math.sin(theta)];
  const line = (points, name, style) => ({
    x: points.map((p) => p[0]),
    y: points.map((p) => p[1]),
    name,
    mode: "lines",
    line: style,
    hoverinfo: "skip",
  });

  // The piece of n·x = c that runs through the whole plot.
  const straight = ({ angle, offset }) =>
    [-9, 9].map((s) => [
      offset * Math.cos(angle) - s * Math.sin(angle),
      offset * Math.sin(angle) + s * Math.cos(angle),
    ]);

  const traces = (step) => {
    const t = step / last;
    const points = data.points.map((p) => mix(p, polar(p), t));
    const classes = data.class_names.map((name, k) => {
      const own = points.filter((_, i) => data.labels[i] === k);
      return {
        x: own.map((p) => p[0]),
        y: own.map((p) => p[1]),
        name,
        mode: "markers",
        marker: { size: 5, color: kit.colours[k] },
        hoverinfo: "skip",
      };
    });
    const circle = data.circle.map((p) => mix(plane(p), p, t));
    return [
      ...classes,
      line(circle, "trained boundary", { color: kit.colours[6], width: 2.5, dash: "dash" }),
      line(straight(data.way[step]), "best straight line", { color: kit.colours[2], width: 2.5 }),
    ];
  };

  const layout = (step) => ({
    height: 520,
    xaxis: { range: [-data.reach, data.reach], constrain: "domain", title: { text: axis("x", "r", step) } },
    yaxis: { range: [-3.4, 3.4], scaleanchor: "x", title: { text: axis("y", "θ", step) } },
  });
  const axis = (from, to, step) =>
    step === 0 ? from : step === last ? to : `between ${from} and ${to}`;

  const percent = (step) => `${data.way[step].accuracy.toFixed(1)} %`;
  const say = (step) =>
    `t = ${(step / last).toFixed(2)}: the best straight line classifies ${percent(step)} of the ` +
    `${data.test_size} test points correctly; in (x, y) ${percent(0)}, in (r, θ) ${percent(last)}.`;

  const controls = kit.row(root);
  const plot = kit.plot(
    root,
    traces(0),
    layout(0),
    "The points of the rings with the boundary of the trained classifier and the best straight line."
  );
  const output = kit.output(root);
  const show = (step) => {
    plot.update(traces(step), layout(step));
    output.textContent = say(step);
  };
  output.textContent = say(0);
  kit.slider(
    controls,
    {
      label: "from (x, y) to (r, θ)",
      min: 0,
      max: last,
      step: 1,
      value: 0,
      show: (step) => (step / last).toFixed(2),
    },
    (step) => show(Number(step))
  );
});
