// Scores to probabilities, and the loss as the entropy of the target plus a divergence.
"use strict";
lecture.widget("softmax", (root, data, kit) => {
  const scores = [...data.scores];
  const state = { constant: 0, right: data.right, smoothing: 0 };
  const [pColour, qColour, klColour] = [kit.colours[0], kit.colours[2], kit.colours[1]];

  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const signed = (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(1);
  const fixed = (v) => Math.max(v, 0).toFixed(3); // a divergence of −1e-17 is 0

  function measured() {
    const shifted = scores.map((s) => s + state.constant);
    const largest = Math.max(...shifted);
    const total = sum(shifted.map((s) => Math.exp(s - largest)));
    const logQ = shifted.map((s) => s - largest - Math.log(total));
    const p = scores.map((_, k) => (k === state.right ? 1 - state.smoothing : 0) + state.smoothing / scores.length);
    return {
      p,
      q: logQ.map(Math.exp),
      loss: -sum(p.map((pk, k) => pk * logQ[k])),
      entropy: -sum(p.map((pk) => (pk > 0 ? pk * Math.log(pk) : 0))),
      kl: sum(p.map((pk, k) => (pk > 0 ? pk * (Math.log(pk) - logQ[k]) : 0))),
    };
  }

  function bars({ p, q }) {
    const bar = (y, name, color) => ({
      type: "bar", x: data.classes, y, name, marker: { color },
      text: y.map((v) => (v > 0 ? v.toFixed(2) : "")), textposition: "outside", cliponaxis: false, hoverinfo: "skip",
    });
    return [bar(p, "target P", pColour), bar(q, "softmax Q", qColour)];
  }

  function split({ entropy, kl }) {
    const part = (x, name, color) => ({
      type: "bar", orientation: "h", x: [x], y: ["loss"], name, marker: { color }, hoverinfo: "skip",
    });
    return [part(entropy, "H(P)", pColour), part(kl, "KL(P ‖ Q)", klColour)];
  }

  const barLayout = { height: 260, yaxis: { title: "probability", range: [0, 1.12], fixedrange: true }, xaxis: { fixedrange: true } };
  const splitLayout = ({ loss }) => ({
    height: 150, barmode: "stack", xaxis: { title: "nats", range: [0, Math.max(3, 1.05 * loss)], fixedrange: true },
    yaxis: { showticklabels: false, fixedrange: true }, margin: { l: 12, r: 12, t: 8, b: 40 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, traceorder: "normal" },
  });

  const row = kit.row(root);
  scores.forEach((value, k) => kit.slider(
    row, { label: `score of ${data.classes[k]}`, min: -5, max: 5, step: 0.1, value, show: signed },
    (v) => { scores[k] = v; update(); },
  ));
  kit.slider(
    row, { label: "constant added to all", min: -100, max: 100, step: 1, value: 0, show: signed },
    (v) => { state.constant = v; update(); },
  );
  kit.choice(
    row, { label: "right class", options: data.classes.map((name, k) => [String(k), name]), value: String(data.right) },
    (v) => { state.right = Number(v); update(); },
  );
  kit.slider(
    row, { label: "label smoothing α", min: 0, max: 0.9, step: 0.01, value: 0, show: (v) => v.toFixed(2) },
    (v) => { state.smoothing = v; update(); },
  );

  const output = kit.output(root);
  const first = measured();
  const probabilities = kit.plot(root, bars(first), barLayout, "Bars of the target P and the softmax Q for each class");
  const parts = kit.plot(root, split(first), splitLayout(first), "The loss as a bar of H(P) and, stacked on it, KL");

  function update() {
    const now = measured();
    output.textContent =
      `loss ${fixed(now.loss)} = H(P) ${fixed(now.entropy)} + KL ${fixed(now.kl)} nats; ` +
      `Q: ${data.classes.map((name, k) => `${name} ${fixed(now.q[k])}`).join(", ")}`;
    probabilities.update(bars(now), barLayout);
    parts.update(split(now), splitLayout(now));
  }
  update();
});
