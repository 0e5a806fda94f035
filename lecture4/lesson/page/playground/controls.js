// Controls: read the settings, train picture by picture, and show and say what came of it.
"use strict";
(() => {
  const RATES = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const PENALTIES = [0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.1];
  const USUAL = { descent: 7, momentum: 6, adam: 4 }; // places in RATES that suit each optimizer
  const POINTS_SEED = 1;
  const FRAME = 10; // milliseconds of a frame in which updates may begin
  const CURVE = 600; // length of a curve, beyond which every other of its points is dropped

  const { points, net: nets, picture } = playground;
  const form = document.getElementById("playground");
  const { elements } = form;
  const find = (selector) => form.querySelector(selector);
  const value = (name) => elements[name].value;
  const canvas = find("canvas");
  const style = getComputedStyle(form);
  const plane = picture.plane(canvas, ["--first", "--second"].map((name) => style.getPropertyValue(name).trim()));
  const drawCurves = picture.curves(find(".curves"));
  const drawLayers = picture.layers(find(".layers tbody"));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const state = { seed: 3, running: false, visible: true, curve: [], before: [], every: 1 };
  const eta = () => RATES[value("eta")];
  const lambda = () => PENALTIES[value("lambda")];

  // What the tools change.
  const board = {
    points: [],
    cursor: null, // of the keyboard
    tool: () => value("tool"),
    probability(x, y) {
      const s = nets.forward(state.net, Float64Array.from(points.features[value("features")](x, y))).at(-1);
      return 1 / (1 + Math.exp(s[0] - s[1]));
    },
    changed(words) {
      usePoints();
      if (!state.running) show({ spoken: Boolean(words), prefix: words });
      else if (words) find("#play-spoken").textContent = words;
    },
    say(words) {
      find("#play-spoken").textContent = words;
      if (!state.running) show({ spoken: false });
    },
  };

  // Settings.
  function nameValues() {
    const words = { eta: eta(), lambda: lambda() };
    for (const name of ["noise", "hidden", "units"]) words[name] = value(name);
    for (const [name, word] of Object.entries(words)) {
      elements[name].setAttribute("aria-valuetext", word);
      elements[name].labels[0].querySelector(".value").textContent = word;
    }
  }
  function drawPoints() {
    board.points = points.draw(value("shape"), Number(value("count")), Number(value("noise")), POINTS_SEED);
  }
  // The points as the plane and the net see them; a new epoch begins.
  function usePoints() {
    plane.place(board.points);
    const kept = (held) => points.table(board.points.filter((p) => p.held === held), value("features"));
    [state.training, state.held] = [kept(false), kept(true)];
    state.net.order = [];
  }
  // The weights of the seed again; the curves so far become the pale ones.
  function rewind() {
    if (state.curve.length > 1) state.before = state.curve;
    state.curve = [];
    state.every = 1;
    const units = Array(Number(value("hidden"))).fill(Number(value("units")));
    state.net = nets.begin({
      sizes: [2, ...units, 2],
      activation: value("activation"),
      init: value("init"),
      optimizer: value("optimizer"),
      seed: state.seed,
    });
    usePoints();
  }

  // Loss, correct points and sizes in the layers, on all points; without points there is no loss.
  function measure() {
    const { net, training, held } = state;
    const { loss, right, h, gradients } = nets.gradient(net, training, lambda());
    const last = net.layers.length - 1;
    const sizes = gradients.map(({ W }, l) => ({
      name: l < last ? String(l + 1) : "scores",
      output: nets.rms(h[l + 1]),
      gradient: nets.rms(W),
    }));
    const other = nets.crossEntropy(nets.forward(net, held.x).at(-1), held.y);
    const row = (found, n) => ({ loss: n ? found.loss : NaN, right: found.right / n, n });
    return { t: net.t, sizes, training: row({ loss, right }, training.y.length), held: row(other, held.y.length) };
  }
  function keepCurve({ t, training, held }) {
    if (state.running && t % state.every) return;
    if (state.curve.at(-1)?.t === t) state.curve.pop();
    state.curve.push({ t, training: training.loss, held: held.loss });
    if (state.curve.length > CURVE) {
      state.curve = state.curve.filter((_, i) => i % 2 === 0);
      state.every *= 2;
    }
  }

  function drawPlane(moving) {
    plane.draw(state.net, value("features"), moving, board.cursor);
  }
  // Draw everything; speak where somebody waits for an answer.
  function show({ moving = state.running, spoken = true, prefix = "" } = {}) {
    const m = measure();
    keepCurve(m);
    drawPlane(moving);
    drawCurves([state.curve, state.before]);
    drawLayers(m.sizes);
    const words = { training: lossWords(m.training), held: lossWords(m.held) };
    for (const key of ["training", "held"]) find(`.said.${key}`).textContent = words[key];
    find(".clock").textContent = `update ${m.t.toLocaleString("en")}, seed ${state.seed}`;
    elements.train.textContent = state.running ? "Pause" : "Train";
    for (const name of ["train", "step"]) elements[name].disabled = m.training.n === 0;
    if (spoken) speak(m, words, prefix);
    return m.training.n === 0 || Number.isFinite(m.training.loss);
  }
  function lossWords({ loss, right, n }) {
    if (!n) return "no points";
    if (!Number.isFinite(loss)) return "not finite: lower η and rewind";
    return `${picture.amount(loss)}, ${(100 * right).toFixed(1)} % right`;
  }
  function speak({ t, training, held }, words, prefix) {
    const updates = `${t} update${t === 1 ? "" : "s"}`;
    find("#play-spoken").textContent =
      `${prefix}After ${updates}: training loss ${words.training}; held-out loss ${words.held}.`;
    const way = (key, { n }) => (n ? [0, -1].map((i) => picture.amount(state.curve.at(i)[key])).join(" to ") : "no points");
    const pictures = {
      ".plane": `Plane with ${training.n} training points and ${held.n} held-out points, and the decision boundary`,
      ".curves": `Loss curves over ${updates}: training ${way("training", training)}, held out ${way("held", held)}`,
    };
    for (const [part, label] of Object.entries(pictures)) find(part).setAttribute("aria-label", label);
  }

  // Training: an update between two pictures at first, then more, as many as fit. Where losses take
  // longer than a frame, every fourth picture has them.
  const update = () => nets.update(state.net, state.training, eta(), lambda());
  let [spokenAt, drawnAt, cost, pictures] = [0, 0, 0, 0];
  function frame(now) {
    if (!state.running) return;
    if (state.visible && state.training.y.length) advance(now);
    requestAnimationFrame(frame);
  }
  function advance(now) {
    const until = performance.now() + FRAME - cost;
    const most = Math.min(10, 1 + Math.floor(state.net.t / 100));
    for (let i = 0; i === 0 || (i < most && performance.now() < until); i++) update();
    if (calm.matches && now - drawnAt < 1000) return;
    drawnAt = now;
    pictures += 1;
    if (cost > FRAME && pictures % 4) return drawPlane(true);
    const spoken = now - spokenAt > 5000;
    if (spoken) spokenAt = now;
    const begun = performance.now();
    if (!show({ spoken })) run(false);
    cost = performance.now() - begun;
  }
  function run(wanted) {
    const begins = wanted && !state.running;
    state.running = wanted;
    spokenAt = drawnAt = performance.now();
    show({ prefix: wanted ? "Training. " : "" });
    if (begins) requestAnimationFrame(frame);
  }

  const actions = {
    train: () => run(!state.running),
    step: () => { update(); run(false); },
    rewind: () => { rewind(); run(false); },
    reseed: () => { state.seed += 1; rewind(); show(); },
    clear: () => { elements.shape.value = "none"; board.points = []; usePoints(); run(false); },
  };
  for (const [name, act] of Object.entries(actions)) elements[name].addEventListener("click", act);

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target: { name } }) => {
    if (name === "tool") return;
    if (name === "optimizer") elements.eta.value = USUAL[value("optimizer")];
    nameValues();
    if (["shape", "count", "noise"].includes(name)) { drawPoints(); usePoints(); }
    if (["features", "hidden", "units", "activation", "init", "optimizer"].includes(name)) rewind();
    show();
  });

  nameValues();
  drawPoints();
  rewind();
  playground.tools(canvas, plane, board);
  function fit() {
    if (!canvas.clientWidth) return; // not laid out: nothing can be drawn
    plane.fit();
    show({ spoken: false });
  }
  new ResizeObserver(fit).observe(canvas);
  new IntersectionObserver(([entry]) => { state.visible = entry.isIntersecting; }).observe(form);
  fit();
  Object.assign(playground, { state, board }); // the tests read them
})();
