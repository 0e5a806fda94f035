// The detail: how one number of a layer came about, written out and in words.
"use strict";
inside.detail = (() => {
  const { windowOf, activations, place } = inside.net;
  const { amount, brief, title, mapName, whole, ACTIVATIONS } = inside.words;
  const { painted, photograph, enlarged, colour, most } = inside.maps;
  const [NUMBERS, BESIDE] = [7, 3]; // longest side of windows with numbers, and of those side by side
  const SHOWN = 3; // channels with their products
  const SIDE = 130; // CSS pixels of the two pictures
  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // The numbers of a map in a window; null where padding is.
  function cut(x, [, H, W], map, { top, left, height, width }) {
    return Array.from({ length: height * width }, (_, i) => {
      const [y, n] = [top + Math.floor(i / width), left + (i % width)];
      return y >= 0 && y < H && n >= 0 && n < W ? x[(map * H + y) * W + n] : null;
    });
  }

  // Σ w·x of each map of the layer before, the largest first, and wᵀx + b.
  function products(layer, x, { map, y, x: column }) {
    const window = windowOf(layer, y, column);
    const n = window.height * window.width;
    const parts = Array.from({ length: layer.from[0] }, (_, c) => {
      const values = cut(x, layer.from, c, window);
      const first = (map * layer.from[0] + c) * n;
      const w = Array.from(layer.weight.subarray(first, first + n));
      const terms = w.map((v, i) => v * (values[i] ?? 0));
      return { c, values, w, terms, sum: terms.reduce((a, b) => a + b, 0) };
    });
    if (parts.length > SHOWN) parts.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    return { parts, bias: layer.bias ? layer.bias[map] : null };
  }

  // A window as a grid of coloured cells, or as a picture where it is large.
  function grid(values, limit, width, name) {
    const box = made("div", { className: "grid" });
    const height = values.length / width;
    if (Math.max(width, height) > NUMBERS) {
      const canvas = made("canvas");
      enlarged(canvas, painted(values.map((v) => v ?? 0), limit, width), 84);
      box.append(canvas);
    } else {
      const cells = made("div", { className: "cells" });
      cells.style.setProperty("--columns", width);
      for (const v of values) {
        const cell = made("span", { textContent: v === null ? "" : brief(v), className: v === null ? "padding" : "" });
        const [r, g, b] = colour((v ?? 0) / limit);
        if (v !== null) cell.style.cssText = `background:rgb(${r},${g},${b});color:${0.3 * r + 0.59 * g + 0.11 * b > 135 ? "#111" : "#fff"}`;
        cells.append(cell);
      }
      box.append(cells);
    }
    box.append(made("span", { className: "name", textContent: name }));
    return box;
  }

  const line = (...parts) => made("p", { className: "term" }, ...parts);
  const sign = (v) => (v < 0 ? " − " : " + ") + amount(Math.abs(v));

  // wᵀx + b with the products of the largest parts, and the sum of the others.
  function dotProduct(view, { net, l, input, limits, at, value }) {
    const layer = net[l];
    const { parts, bias } = products(layer, input, at);
    const [F, G] = layer.kernel;
    const longest = Math.max(F, G);
    const shown = longest === 1 ? 8 : longest > BESIDE && longest <= NUMBERS ? 1 : SHOWN;
    const top = parts.slice(0, shown);
    const [ofW, ofTerms] = ["w", "terms"].map((key) => most(top.flatMap((p) => p[key])));
    const limit = limits[l - 1];
    const name = (c) => mapName(net, l - 1, c);
    for (const { c, values, w, terms, sum } of top) {
      if (longest === 1) {
        view.append(line(`${name(c)}: ${amount(w[0])} · ${amount(values[0] ?? 0)} = `, made("b", { textContent: amount(sum) })));
        continue;
      }
      const grids = made("div", { className: `grids${longest <= BESIDE || longest > NUMBERS ? " beside" : ""}` });
      grids.append(grid(values, limit, G, `x, ${name(c)}`), grid(w, ofW, G, "w"),
        grid(terms, Math.max(ofTerms, 0.05 * limit * ofW), G, "w·x"));
      view.append(grids, line(`Σ w·x, ${name(c)}: `, made("b", { textContent: amount(sum) })));
    }
    const rest = parts.slice(shown).reduce((a, p) => a + p.sum, 0);
    const others = parts.length - shown;
    if (others > 0) view.append(line(`and ${others.toLocaleString("en")} more: `, made("b", { textContent: amount(rest) })));
    const terms = [...top.map((p) => p.sum), ...(others > 0 ? [rest] : []), ...(bias === null ? [] : [bias])];
    const sum = terms.map((v, i) => (i ? sign(v) : amount(v))).join("");
    view.append(line(`${bias === null ? "wᵀx" : "wᵀx + b"} = ${sum} = `, made("b", { textContent: amount(value) })));
    const said = top.slice(0, SHOWN).map((p) => `${name(p.c)} ${amount(p.sum)}`).join(", ");
    return `sum of products ${amount(value)}: ${said}${others > 0 ? `, others ${amount(rest)}` : ""}` +
      (bias === null ? "" : `, bias ${amount(bias)}`);
  }

  // The numbers of a pooling window, and their maximum or mean.
  function pooled(view, { net, l, input, limits, at, value }) {
    const layer = net[l];
    const values = cut(input, layer.from, at.map, windowOf(layer, at.y, at.x));
    const grids = made("div", { className: "grids" });
    grids.append(grid(values, limits[l - 1], layer.kernel[1], "x"));
    const n = values.length;
    const few = n <= 9 && values.every((v) => v !== null) ? values.map(brief) : null;
    const formula = layer.kind === "max"
      ? `max(${few ? few.join(", ") : "x"})`
      : few ? `(${few.map((v, i) => (i ? (v[0] === "−" ? ` − ${v.slice(1)}` : ` + ${v}`) : v)).join("")})/${n}` : `(1/${n}) Σ x`;
    view.append(grids, line(`${formula} = `, made("b", { textContent: amount(value) })));
    return `${layer.kind === "max" ? "maximum" : "mean"} of ${n} numbers: ${amount(value)}`;
  }

  // One number from one number (two in a sum).
  function single(view, { net, l, input, outputs, i, value }) {
    const layer = net[l];
    const own = (values) => values[place(values, i, layer.shape)];
    const x = input[i];
    const formulas = {
      preprocess: () => ["(image/255 − mean)/std", `(${amount(x)}/255 − ${amount(own(layer.mean))})/${amount(own(layer.std))}`],
      norm: () => ["a x + c", `${amount(own(layer.scale))} · ${amount(x)}${sign(own(layer.shift))}`],
      activation: () => [ACTIVATIONS[layer.name][1], ACTIVATIONS[layer.name][1].replace("x", amount(x))],
      sum: () => ["x + f(x)", `${amount(outputs[layer.of][i])}${sign(x)}`],
    };
    const [formula, filled] = formulas[layer.kind]();
    const left = layer.kind === "activation" ? `x = ${amount(x)}: ${formula}` : `${formula} = ${filled}`;
    view.append(line(`${left} = `, made("b", { textContent: amount(value) })));
    if (layer.kind === "norm") view.append(line("a = γ/√(σ² + ε), c = β − a μ, for each map"));
    return `${formula}: from ${amount(x)} to ${amount(value)}`;
  }

  // Two pictures: the map (or image) before with the window, and the map with the place.
  function pictures(view, { net, l, input, values, image, at, limits }, choose) {
    const layer = net[l];
    const [, H, W] = layer.shape;
    const window = windowOf(layer, at.y, at.x);
    const from = l ? layer.from : layer.shape;
    const pair = made("div", { className: "pair" });
    const source = before();
    if (source) {
      const canvas = made("canvas");
      enlarged(canvas, source, SIDE, window);
      pair.append(canvas);
    }
    if (H * W > 1) {
      const after = made("canvas", { className: "after" });
      enlarged(after, painted(values.subarray(at.map * H * W, (at.map + 1) * H * W), limits[l], W), SIDE,
        { top: at.y, left: at.x, height: 1, width: 1 });
      after.addEventListener("pointerdown", (event) => {
        const box = after.getBoundingClientRect();
        choose({
          map: at.map,
          y: Math.min(H - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * H))),
          x: Math.min(W - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * W))),
        });
      });
      pair.append(made("span", { textContent: "→" }), after);
    }
    view.append(pair);

    // The image itself where the layer sees its colours, else the map that contributes most.
    function before() {
      if (from[1] * from[2] === 1) return null;
      if (l <= 1) return photograph(image, net[0].shape);
      const c = layer.weight ? products(layer, input, at).parts[0].c : at.map;
      const size = from[1] * from[2];
      return painted(input.subarray(c * size, (c + 1) * size), limits[l - 1], from[2]);
    }
  }

  // Show how the number at {map, y, x} of layer l came about; return it in words.
  function show(view, shown, choose) {
    const { net, l, at, classes } = shown;
    const layer = net[l];
    const [, H, W] = layer.shape;
    const i = (at.map * H + at.y) * W + at.x;
    const spot = H * W > 1 ? `, row ${at.y + 1}, column ${at.x + 1}` : "";
    const where = `${mapName(net, l, at.map, classes)}${spot}`;
    view.replaceChildren(made("p", { className: "where" }, made("b", { textContent: title(net, l) }), `: ${where}`));
    pictures(view, shown, choose);
    if (layer.kind === "convolution") {
      const chunk = `${layer.kernel.join("×")}×${layer.from[0]} chunk of the ${l === 1 ? "image" : "maps"}`;
      const bias = layer.bias ? "wᵀx + b" : "wᵀx. There is no b, as the batch norm has one.";
      view.append(line(`Dot product between the filter and a ${chunk}: ${bias}`));
    }
    const explain = layer.weight ? dotProduct : layer.kernel ? pooled : single;
    return `${title(net, l)}, ${where}: ${explain(view, { ...shown, i, value: shown.values[i] })}.`;
  }

  return { show, made };
})();
