// Numbers and layers in words.
"use strict";
inside.words = (() => {
  const minus = (text) => text.replaceAll("-", "−");

  // Three digits: 0.0123, 4,210, 1.2e−9.
  function amount(v) {
    if (!Number.isFinite(v)) return minus(String(v));
    if (v === 0 || (Math.abs(v) >= 1e-3 && Math.abs(v) < 1e6)) return minus(v.toLocaleString("en", { maximumSignificantDigits: 3 }));
    return minus(v.toExponential(1));
  }
  // At most five characters, for a cell.
  const brief = (v) =>
    minus(v.toFixed(Math.abs(v) < 9.995 ? 2 : Math.abs(v) < 99.95 ? 1 : 0)).replace("−0.00", "0.00");
  // e^s, also where it is larger or smaller than any float.
  function power(s) {
    if (Math.abs(s) < 12) return amount(Math.exp(s));
    const exponent = Math.floor(s * Math.LOG10E);
    return `${(10 ** (s * Math.LOG10E - exponent)).toFixed(1)}e${minus(String(exponent))}`;
  }
  const percent = (p) => `${(100 * p).toFixed(1)} %`;

  const ACTIVATIONS = {
    relu: ["ReLU", "max(0, x)"],
    leaky_relu: ["Leaky ReLU", "max(0.01 x, x)"],
    sigmoid: ["Sigmoid", "1/(1 + e⁻ˣ)"],
    tanh: ["tanh", "tanh x"],
    gelu: ["GELU", "x Φ(x)"],
    silu: ["SiLU", "x/(1 + e⁻ˣ)"],
  };
  const sides = (pair) => pair.join("×");
  const whole = ({ kernel, from }) => sides(kernel) === sides(from.slice(1)) && kernel.join() !== "1,1";

  function title(net, l) {
    const layer = net[l];
    const names = {
      preprocess: () => "Preprocessing",
      convolution: () => `Convolution ${sides(layer.kernel)}`,
      max: () => (whole(layer) ? "Maximum of each map" : `Max pooling ${sides(layer.kernel)}`),
      average: () => (whole(layer) ? "Mean of each map" : `Average pooling ${sides(layer.kernel)}`),
      norm: () => "Batch norm",
      activation: () => ACTIVATIONS[layer.name][0],
      sum: () => "Sum of the block’s input and output",
      linear: () => (l === net.length - 1 ? "Scores" : "Linear layer"),
    };
    return names[layer.kind]();
  }

  // "48 maps of 32×32"
  function sizes(net, l) {
    const { shape: [C, H, W], kind } = net[l];
    if (l === net.length - 1) return `${C} numbers, one for each class`;
    if (H === 1 && W === 1) return `${C.toLocaleString("en")} number${C > 1 ? "s" : ""}`;
    return `${C} ${kind === "preprocess" && C === 3 ? "colours" : `map${C > 1 ? "s" : ""}`} of ${H}×${W}`;
  }

  // "(32 + 2·1 − 3)/1 + 1 = 32", for each side where they differ
  function arithmetic({ kind, kernel, stride, padding, from, shape }) {
    if (!kernel || kind === "linear") return "";
    const side = (i) => {
      const [N, P, F, S] = [from[i + 1], padding[i], kernel[i], stride[i]];
      const fraction = `(${N} + 2·${P} − ${F})/${S}`;
      return `${(N + 2 * P - F) % S ? `⌊${fraction}⌋` : fraction} + 1 = ${shape[i + 1]}`;
    };
    const [height, width] = [side(0), side(1)];
    return height === width ? height : `height ${height}, width ${width}`;
  }

  // A map of a layer's output, or one colour of the image.
  function mapName(net, l, map, classes) {
    if (l === net.length - 1) return classes[map];
    const [C, H, W] = net[l].shape;
    if (net[l].kind === "preprocess") return C === 3 ? ["red", "green", "blue"][map] : "grey";
    return `${H === 1 && W === 1 ? "number" : "map"} ${map + 1}`;
  }

  return { amount, brief, power, percent, title, sizes, arithmetic, mapName, whole, ACTIVATIONS };
})();
