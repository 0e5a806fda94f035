// The net: its weights, and the output of each layer, with the formulas of lecture4.models.
// Maps (C, H, W) are a Float32Array, map after map, row after row.
"use strict";
const inside = {};
inside.net = (() => {
  function bytes(text) {
    const raw = atob(text);
    const out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }
  const floats = (text) => new Float32Array(bytes(text).buffer);

  // Half precision: ± 2^(e−15) (1 + m/1024), or ± 2^(−14) m/1024 for e = 0.
  const POWERS = Float64Array.from({ length: 32 }, (_, e) => 2 ** (Math.max(e, 1) - 15));
  function halves({ factor, half }) {
    return Float32Array.from(new Uint16Array(bytes(half).buffer), (h) => {
      const [e, m] = [(h >> 10) & 31, h & 1023];
      return (h & 0x8000 ? -factor : factor) * POWERS[e] * ((e ? 1 : 0) + m / 1024);
    });
  }

  // w[k]ᵀ x + b[k] at each place of the window: (C, H, W) -> (K, H′, W′)
  function convolution({ weight, bias, kernel, stride: [S, T], padding, from, shape: [K, H, W] }, x) {
    const { padded, width, offsets } = pad(x, from, kernel, padding);
    const D = offsets.length; // numbers in a window, over the full depth
    const out = new Float32Array(K * H * W);
    const s = new Float64Array(W);
    for (let k = 0; k < K; k++) {
      const w = weight.subarray(k * D, (k + 1) * D);
      for (let y = 0; y < H; y++) {
        const row = y * S * width;
        s.fill(bias ? bias[k] : 0);
        let d = 0;
        for (; d + 3 < D; d += 4) { // four products at a time: 0.4 times the time of one
          const [a, b, c, e] = [w[d], w[d + 1], w[d + 2], w[d + 3]];
          let [i, j, l, m] = [row + offsets[d], row + offsets[d + 1], row + offsets[d + 2], row + offsets[d + 3]];
          for (let n = 0; n < W; n++, i += T, j += T, l += T, m += T) {
            s[n] += a * padded[i] + b * padded[j] + c * padded[l] + e * padded[m];
          }
        }
        for (; d < D; d++) for (let n = 0; n < W; n++) s[n] += w[d] * padded[row + offsets[d] + n * T];
        out.set(s, (k * H + y) * W);
      }
    }
    return out;
  }

  // The maps with zeros around them, and where in them the D = C·F·G numbers of the first window are.
  function pad(x, [C, H, W], [F, G], [P, Q]) {
    const [height, width] = [H + 2 * P, W + 2 * Q];
    const padded = new Float32Array(C * height * width);
    for (let c = 0; c < C; c++) {
      for (let y = 0; y < H; y++) {
        padded.set(x.subarray((c * H + y) * W, (c * H + y + 1) * W), (c * height + y + P) * width + Q);
      }
    }
    const offsets = new Int32Array(C * F * G);
    for (let d = 0; d < offsets.length; d++) {
      const [c, f, g] = [Math.floor(d / (F * G)), Math.floor(d / G) % F, d % G];
      offsets[d] = (c * height + f) * width + g;
    }
    return { padded, width, offsets };
  }

  // s = W x + b of all numbers x, stretched: (C, H, W) -> (K, 1, 1)
  function linear({ weight, bias, shape: [K] }, x) {
    const D = x.length;
    return Float32Array.from({ length: K }, (_, k) => {
      let s = bias ? bias[k] : 0;
      for (let d = 0; d < D; d++) s += weight[k * D + d] * x[d];
      return s;
    });
  }

  // Maximum or mean of each window of each map. The mean counts padding as zeros.
  function pooling(layer, x) {
    const { from: [, H, W], shape: [C, height, width], kernel: [F, G] } = layer;
    const out = new Float32Array(C * height * width);
    for (let y = 0, o = 0; y < height; y++) {
      for (let n = 0; n < width; n++, o++) {
        const { top, left } = windowOf(layer, y, n);
        const [bottom, right] = [Math.min(H, top + F), Math.min(W, left + G)];
        for (let c = 0; c < C; c++) {
          let [most, sum] = [-Infinity, 0];
          for (let i = Math.max(0, top); i < bottom; i++) {
            for (let j = Math.max(0, left); j < right; j++) {
              const v = x[(c * H + i) * W + j];
              if (v > most) most = v;
              sum += v;
            }
          }
          out[c * height * width + o] = layer.kind === "max" ? most : sum / (F * G);
        }
      }
    }
    return out;
  }

  // erf, within 1.5e-7. Source: Abramowitz & Stegun 1964, 7.1.26.
  function erf(z) {
    const t = 1 / (1 + 0.3275911 * Math.abs(z));
    const p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return Math.sign(z) * (1 - p * Math.exp(-z * z));
  }
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const activations = {
    relu: (x) => (x > 0 ? x : 0),
    leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
    sigmoid,
    tanh: Math.tanh,
    gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
    silu: (x) => x * sigmoid(x),
  };

  // Where in an array of one number for each channel, or for each pixel, that of pixel i is.
  const place = (values, i, [C, H, W]) => (values.length === C ? Math.floor(i / (H * W)) : i);

  const steps = {
    // x = (image/255 − mean) / std
    preprocess: ({ mean, std, shape }, x) =>
      x.map((v, i) => (v / 255 - mean[place(mean, i, shape)]) / std[place(std, i, shape)]),
    convolution,
    linear,
    max: pooling,
    average: pooling,
    // batch norm with the statistics of training: a x + c for each channel
    norm: ({ scale, shift, shape }, x) => x.map((v, i) => scale[place(scale, i, shape)] * v + shift[place(shift, i, shape)]),
    activation: ({ name }, x) => x.map(activations[name]),
    sum: ({ of }, x, outputs) => x.map((v, i) => v + outputs[of][i]), // x + f(x) of a residual block
  };

  // ⌊(N + 2P − F)/S⌋ + 1 in height and width
  const slid = ({ kernel, stride, padding }, sides) =>
    sides.map((N, i) => Math.floor((N + 2 * padding[i] - kernel[i]) / stride[i]) + 1);

  // The layers with their weights as arrays, and the shapes (C, H, W) before and after each.
  function load({ layers, input }) {
    let shape = input;
    return layers.map((layer) => {
      const from = shape;
      const made = { ...layer, from };
      for (const name of ["mean", "std", "scale", "shift", "bias"]) if (layer[name]) made[name] = floats(layer[name]);
      if (layer.weight) made.weight = halves(layer.weight);
      if (layer.kind === "linear") Object.assign(made, { kernel: from.slice(1), stride: [1, 1], padding: [0, 0] });
      if (made.kernel) shape = [layer.filters ?? from[0], ...slid(made, from.slice(1))];
      return { ...made, shape };
    });
  }

  // The output of each layer for an image (C, H, W) of numbers from 0 to 255.
  function forward(net, image) {
    const outputs = [];
    for (const layer of net) outputs.push(steps[layer.kind](layer, outputs.at(-1) ?? image, outputs));
    return outputs;
  }

  // p_k = e^{s_k} / Σⱼ e^{s_j}; s − max s, so that no exponential overflows
  function softmax(s) {
    const top = Math.max(...s);
    const powers = Array.from(s, (v) => Math.exp(v - top));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((v) => v / sum);
  }

  // The window of the layer before from which the number in row y and column x is computed.
  function windowOf({ kernel: [F, G] = [1, 1], stride: [S, T] = [1, 1], padding: [P, Q] = [0, 0] }, y, x) {
    return { top: y * S - P, left: x * T - Q, height: F, width: G };
  }

  return { load, forward, softmax, windowOf, activations, place, bytes };
})();
