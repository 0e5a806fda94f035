// The net: forward, backward and updates, in float64, with the formulas of lecture4.byhand.
// A matrix (N, D) is a Float64Array, row after row.
"use strict";
playground.net = (() => {
  const { random, normal } = playground.points;
  const [BATCH, MU, BETA1, BETA2, EPS] = [32, 0.9, 0.9, 0.999, 1e-8];

  const LEAKY_GAIN = Math.sqrt(2 / (1 + 0.01 ** 2));

  // h = f(s), f′(s) written in h, and the gain of initialisation.
  const activations = {
    relu: { f: (s) => (s > 0 ? s : 0), slope: (h) => (h > 0 ? 1 : 0), gain: Math.SQRT2 },
    leaky_relu: { f: (s) => (s > 0 ? s : 0.01 * s), slope: (h) => (h > 0 ? 1 : 0.01), gain: LEAKY_GAIN },
    tanh: { f: Math.tanh, slope: (h) => 1 - h * h, gain: 5 / 3 },
    sigmoid: { f: (s) => 1 / (1 + Math.exp(-s)), slope: (h) => h * (1 - h), gain: 1 },
  };

  // √Var[w] of a weight between D inputs and K outputs.
  const schemes = {
    small: () => 0.001,
    xavier: (D, K, gain) => gain * Math.sqrt(2 / (D + K)),
    he: (D, K, gain) => gain / Math.sqrt(D),
    large: () => 1,
  };

  // Layers W (K, D) and b (K) between the sizes: two features, hidden units, two scores.
  function makeLayers({ sizes, activation, init }, uniform) {
    return sizes.slice(1).map((K, l) => {
      const D = sizes[l];
      const gain = l < sizes.length - 2 ? activations[activation].gain : 1;
      const std = schemes[init](D, K, gain);
      const W = Float64Array.from({ length: K * D }, () => std * normal(uniform));
      return { D, K, W, b: new Float64Array(K) };
    });
  }

  // s = x Wᵀ + b: (N, D) -> (N, K)
  function linear({ D, K, W, b }, x) {
    const N = x.length / D;
    const s = new Float64Array(N * K);
    for (let n = 0; n < N; n++) {
      for (let k = 0; k < K; k++) {
        let sum = b[k];
        for (let d = 0; d < D; d++) sum += W[k * D + d] * x[n * D + d];
        s[n * K + k] = sum;
      }
    }
    return s;
  }

  // ∂L/∂W = (∂L/∂s)ᵀ x,   ∂L/∂b = Σₙ ∂L/∂sₙ,   ∂L/∂x = ∂L/∂s W
  function linearBackward({ D, K, W }, x, ds) {
    const N = x.length / D;
    const [dW, db, dx] = [new Float64Array(K * D), new Float64Array(K), new Float64Array(N * D)];
    for (let n = 0; n < N; n++) {
      for (let k = 0; k < K; k++) {
        const g = ds[n * K + k];
        db[k] += g;
        for (let d = 0; d < D; d++) {
          dW[k * D + d] += g * x[n * D + d];
          dx[n * D + d] += g * W[k * D + d];
        }
      }
    }
    return { dW, db, dx };
  }

  // h₀ = x,   h = f(W h + b) in each hidden layer,   scores s = W h + b: [h₀, h₁, …, s]
  function forward({ layers, activation }, x) {
    const { f } = activations[activation];
    const h = [x];
    layers.forEach((layer, l) => {
      const s = linear(layer, h[l]);
      if (l < layers.length - 1) for (let i = 0; i < s.length; i++) s[i] = f(s[i]);
      h.push(s);
    });
    return h;
  }

  // L = (1/N) Σₙ −log pₙ[yₙ],   p = softmax(s),   ∂L/∂s = (p − 1[k = y]) / N; and how many are right.
  function crossEntropy(s, y) {
    const N = y.length;
    const ds = new Float64Array(2 * N);
    let [loss, right] = [0, 0];
    for (let n = 0; n < N; n++) {
      const own = s[2 * n + y[n]];
      const other = s[2 * n + 1 - y[n]];
      const top = Math.max(own, other); // s − max s: no exponential overflows
      const logP = own - top - Math.log(Math.exp(own - top) + Math.exp(other - top));
      loss -= logP / N;
      right += (s[2 * n + 1] > s[2 * n] ? 1 : 0) === y[n] ? 1 : 0;
      const p = Math.exp(logP);
      ds[2 * n + y[n]] = (p - 1) / N;
      ds[2 * n + 1 - y[n]] = (1 - p) / N;
    }
    return { loss, right, ds };
  }

  // ∂/∂W and ∂/∂b of L + λ R(W), R(W) = Σ w², layer by layer, from the scores back; and h, L.
  function gradient(net, { x, y }, lambda) {
    const { slope } = activations[net.activation];
    const h = forward(net, x);
    const { loss, right, ds } = crossEntropy(h.at(-1), y);
    const gradients = [];
    let back = ds; // ∂L/∂s of the layer
    for (let l = net.layers.length - 1; l >= 0; l--) {
      const { W } = net.layers[l];
      const { dW, db, dx } = linearBackward(net.layers[l], h[l], back);
      for (let i = 0; i < W.length; i++) dW[i] += lambda * 2 * W[i];
      gradients.unshift({ W: dW, b: db });
      if (l > 0) for (let i = 0; i < dx.length; i++) dx[i] *= slope(h[l][i]); // ∂L/∂s = ∂L/∂h f′(s)
      back = dx;
    }
    return { loss, right, h, gradients };
  }

  const optimizers = {
    descent: (w, g, eta) => { // w ← w − η g
      for (let i = 0; i < w.length; i++) w[i] -= eta * g[i];
    },
    momentum: (w, g, eta, { v }) => { // v ← μ v + g,   w ← w − η v
      for (let i = 0; i < w.length; i++) {
        v[i] = MU * v[i] + g[i];
        w[i] -= eta * v[i];
      }
    },
    adam: (w, g, eta, { m, v }, t) => { // m, v: running means of g, g²;   w ← w − η m̂ / (√v̂ + ε)
      for (let i = 0; i < w.length; i++) {
        m[i] = BETA1 * m[i] + (1 - BETA1) * g[i];
        v[i] = BETA2 * v[i] + (1 - BETA2) * g[i] * g[i];
        const [mHat, vHat] = [m[i] / (1 - BETA1 ** t), v[i] / (1 - BETA2 ** t)];
        w[i] -= (eta * mHat) / (Math.sqrt(vHat) + EPS);
      }
    },
  };

  // A net before its first update; weights and the order of the batches follow from the seed.
  function begin({ sizes, activation, init, optimizer, seed }) {
    const uniform = random(seed);
    const layers = makeLayers({ sizes, activation, init }, uniform);
    const zeros = ({ length }) => ({ m: new Float64Array(length), v: new Float64Array(length) });
    const memory = layers.map(({ W, b }) => ({ W: zeros(W), b: zeros(b) }));
    return { layers, activation, optimizer, memory, t: 0, uniform, order: [], batch: [] };
  }

  // The rows of the next update: all N for gradient descent, else the next 32 of a shuffled epoch.
  function nextBatch(net, N) {
    if (net.optimizer === "descent") return Array.from({ length: N }, (_, n) => n);
    if (!net.order.length) {
      net.order = Array.from({ length: N }, (_, n) => n);
      for (let n = N - 1; n > 0; n--) { // Fisher & Yates
        const m = Math.floor(net.uniform() * (n + 1));
        [net.order[n], net.order[m]] = [net.order[m], net.order[n]];
      }
    }
    return net.order.splice(0, BATCH);
  }

  // One update of all W and b from a batch of the data {x, y}.
  function update(net, { x, y }, eta, lambda) {
    net.batch = nextBatch(net, y.length);
    const rows = { x: new Float64Array(2 * net.batch.length), y: Uint8Array.from(net.batch, (n) => y[n]) };
    net.batch.forEach((n, i) => rows.x.set(x.subarray(2 * n, 2 * n + 2), 2 * i));
    const { gradients } = gradient(net, rows, lambda);
    net.t += 1;
    net.layers.forEach((layer, l) => {
      for (const part of ["W", "b"]) {
        optimizers[net.optimizer](layer[part], gradients[l][part], eta, net.memory[l][part], net.t);
      }
    });
  }

  const rms = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length) || 0;

  return { activations, schemes, rms, begin, forward, crossEntropy, gradient, update };
})();
