// Four ways to train, replayed: their best accuracy after a number of example evaluations.
lecture.widget("race", (root, data, kit) => {
  const last = data.evaluations.length - 1;
  const count = (step) => data.evaluations[step].toLocaleString("en");
  const top = Math.max(data.chance, ...data.methods.flatMap((method) => method.accuracy));

  const traces = (step) =>
    data.methods.map(({ name, accuracy }, i) => ({
      x: data.evaluations.slice(0, step + 1),
      y: accuracy.slice(0, step + 1),
      name,
      mode: "lines+markers",
      line: { color: kit.colours[i], width: 2 },
      marker: { color: kit.colours[i], size: data.evaluations.map((_, j) => (j === step ? 9 : 1)) },
    }));
  const layout = {
    xaxis: {
      type: "log",
      dtick: 1,
      title: { text: "example evaluations" },
      range: [data.evaluations[0] * 0.9, data.evaluations[last] * 1.1].map(Math.log10),
    },
    yaxis: { title: { text: "test accuracy, %" }, range: [0, top * 1.1] },
    shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: data.chance, y1: data.chance,
      line: { dash: "dot", width: 1, color: kit.colours[7] } }],
  };
  const say = (step) =>
    `${count(step)} evaluations: ` +
    data.methods.map(({ name, accuracy }) => `${name} ${accuracy[step].toFixed(1)} %`).join(", ");

  let timer = null;
  let playing = false; // the replay moves the slider, not the reader
  const row = kit.row(root);
  const button = kit.button(row, "Play", () => (timer === null ? play() : pause()));
  const slider = kit.slider(
    row,
    { label: "Example evaluations", min: 0, max: last, step: 1, value: last, show: count },
    (step) => {
      if (timer !== null && !playing) pause();
      show(step);
    },
  );
  const plot = kit.plot(root, traces(last), layout, "Test accuracy of the four methods, of the W of best validation accuracy so far.");
  const output = kit.output(root);
  show(last);

  function show(step) {
    plot.update(traces(step), layout);
    output.textContent = say(step);
  }

  function move(step) {
    playing = true;
    slider.set(step);
    playing = false;
  }

  function play() {
    button.textContent = "Pause";
    output.setAttribute("aria-live", "off"); // 25 announcements would be heard one after the other
    move(slider.value === last ? 0 : slider.value);
    timer = setInterval(() => (slider.value === last ? pause() : move(slider.value + 1)), 250);
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
    output.setAttribute("aria-live", "polite");
    output.textContent = say(slider.value);
  }
});
