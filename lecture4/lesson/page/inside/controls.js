// Controls: choose an image, hide a part of it, and choose a number of a layer.
"use strict";
(() => {
  const nets = inside.net;
  const { mosaic, photograph, enlarged, most } = inside.maps;
  const { amount, power, percent, title, sizes, arithmetic, mapName } = inside.words;
  const { made } = inside.detail;
  const data = JSON.parse(document.getElementById("inside-data").textContent);
  const root = document.getElementById("inside");
  const find = (selector) => root.querySelector(selector);
  const [picture, slider, remove, view] = [".input canvas", "#inside-size", "[name=remove]", ".detail"].map(find);
  const wide = matchMedia("(min-width: 50rem)");
  const MOST_CLASSES = 10;
  const HEIGHTS = { convolution: 230, other: 135 }; // CSS pixels of a layer's maps
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  const [channels, height, width] = data.input;
  const net = nets.load(data);
  const state = { net, image: null, patched: null, outputs: [], clean: [], limits: [], patch: null, l: 0, at: null, host: undefined };
  const last = net.length - 1;

  // What hides a part: the mean image, which preprocessing turns into 0, or else grey.
  const { mean } = net[0];
  const hidden = Float32Array.from({ length: channels * height * width }, (_, i) =>
    mean.some((v) => v) ? 255 * mean[nets.place(mean, i, data.input)] : 127.5);

  // Compute every layer for the image with its patch, and draw.
  function compute() {
    state.patched = state.image.slice();
    if (state.patch) {
      const { x, y, size } = state.patch;
      for (let c = 0; c < channels; c++) {
        for (let i = y; i < y + size; i++) {
          const [begin, end] = [x, x + size].map((n) => (c * height + i) * width + n);
          state.patched.set(hidden.subarray(begin, end), begin);
        }
      }
    }
    state.outputs = state.patch ? nets.forward(net, state.patched) : state.clean;
    draw();
  }
  let due = false;
  function soon() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; compute(); });
  }
  function draw() {
    layers.forEach(({ maps }, l) => maps.draw(state.outputs[l], state.limits[l]));
    drawAnswer();
    choose(state.l, state.at, false, state.host);
  }

  // The image.
  function open(pixels, words) {
    Object.assign(state, { image: Float32Array.from(pixels), patch: null });
    state.clean = nets.forward(net, state.image);
    state.limits = state.clean.map(most);
    remove.disabled = true;
    find(".note").hidden = true;
    listClasses();
    state.at ?? begin();
    compute();
    if (words) say(`${words}. ${answerWords()}`);
  }
  // The largest number of the first convolution, or else of the first linear layer.
  function begin() {
    state.l = Math.max(1, net.findIndex(({ kind }) => kind === "convolution"));
    state.at = largest(state.l);
  }
  function largest(l, map) {
    const [, H, W] = net[l].shape;
    const [first, end] = map === undefined ? [0, state.clean[l].length] : [map * H * W, (map + 1) * H * W];
    const values = (state.outputs[l] ?? state.clean[l]).subarray(first, end);
    const i = first + values.reduce((best, v, j) => (v > values[best] ? j : best), 0);
    return { map: Math.floor(i / (H * W)), y: Math.floor(i / W) % H, x: i % W };
  }

  // Classes: those of an image in their order, or the likeliest of many.
  let rows = [];
  function listClasses() {
    const p = nets.softmax(state.clean[last]);
    const order = p.map((_, k) => k);
    if (order.length > MOST_CLASSES) order.sort((a, b) => p[b] - p[a]).splice(MOST_CLASSES);
    rows = order.map((k) => {
      const button = made("button", { type: "button", textContent: data.classes[k], title: data.classes[k] });
      button.addEventListener("click", () => {
        choose(last, { map: k, y: 0, x: 0 }, true, find(".answer"));
        view.scrollIntoView({ block: "nearest" });
      });
      const [score, e, bar] = ["n", "n", "bar"].map((className) => made("td", { className }));
      return { k, score, e, bar, row: made("tr", {}, made("th", { scope: "row" }, button), score, e, bar) };
    });
    find("tbody").replaceChildren(...rows.map(({ row }) => row));
  }
  function drawAnswer() {
    const s = state.outputs[last];
    const [p, before] = [nets.softmax(s), nets.softmax(state.clean[last])];
    const best = p.indexOf(Math.max(...p));
    for (const { k, score, e, bar, row } of rows) {
      [score.textContent, e.textContent, bar.textContent] = [amount(s[k]), power(s[k]), percent(p[k])];
      bar.style.setProperty("--now", `${100 * p[k]}%`);
      bar.style.setProperty("--before", state.patch ? `${100 * before[k]}%` : "0");
      row.classList.toggle("best", k === best);
    }
    const sum = Math.log(s.reduce((a, v) => a + Math.exp(v - s[best]), 0)) + s[best];
    find(".softmax").replaceChildren(
      `p(${data.classes[best]}) = e`, made("sup", { textContent: amount(s[best]) }), " / Σ",
      made("sub", { textContent: "j" }), " e", made("sup", {}, "s", made("sub", { textContent: "j" })),
      ` = ${power(s[best])} / ${power(sum)} = `, made("b", { textContent: p[best].toFixed(3) }));
    enlarged(picture, photograph(state.patched, data.input), picture.parentElement.clientWidth,
      state.patch && { top: state.patch.y, left: state.patch.x, height: state.patch.size, width: state.patch.size });
  }
  function answerWords() {
    const [p, before] = [state.outputs[last], state.clean[last]].map(nets.softmax);
    const best = before.indexOf(Math.max(...before));
    const now = p.indexOf(Math.max(...p));
    if (!state.patch) return `${data.classes[now]}, probability ${percent(p[now])}.`;
    return `${data.classes[best]} ${percent(p[best])}, without the patch ${percent(before[best])}` +
      (now === best ? "." : `; now the likeliest is ${data.classes[now]}, ${percent(p[now])}.`);
  }
  const say = (words) => { find("#inside-spoken").textContent = words; };

  // The patch.
  function hide(y, x) {
    const size = Number(slider.value);
    const inner = (v, side) => Math.max(0, Math.min(side - size, Math.round(v)));
    state.patch = { y: inner(y, height), x: inner(x, width), size };
    remove.disabled = false;
    soon();
  }
  function show() {
    state.patch = null;
    remove.disabled = true;
    compute();
    say(`Patch removed. ${answerWords()}`);
  }
  const patchWords = ({ y, x, size }) => `Patch of ${size} at row ${y + 1}, column ${x + 1}. ${answerWords()}`;
  let dragging = false;
  function drag(event) {
    const box = picture.getBoundingClientRect();
    const half = Number(slider.value) / 2;
    hide(((event.clientY - box.top) / box.height) * height - half, ((event.clientX - box.left) / box.width) * width - half);
  }
  picture.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    picture.setPointerCapture(event.pointerId);
    dragging = true;
    drag(event);
  });
  picture.addEventListener("pointermove", (event) => { if (dragging) drag(event); });
  for (const end of ["pointerup", "pointercancel"]) {
    picture.addEventListener(end, () => {
      if (dragging) { compute(); say(patchWords(state.patch)); }
      dragging = false;
    });
  }
  picture.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    const removes = state.patch && ["Delete", "Backspace", "Escape"].includes(event.key);
    if ((!arrow && !removes) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (removes) return show();
    const far = event.shiftKey ? 4 : 1;
    const middle = (side) => (side - Number(slider.value)) / 2;
    const { y, x } = state.patch ?? { y: middle(height), x: middle(width) };
    hide(y + (state.patch ? far * arrow[0] : 0), x + (state.patch ? far * arrow[1] : 0));
    compute();
    say(patchWords(state.patch));
  });
  slider.max = Math.max(1, Math.floor(Math.min(height, width) * 0.75));
  slider.value = Math.round(Math.min(height, width) / 4);
  function nameSize() {
    find(".patch .value").textContent = `${slider.value}×${slider.value} pixels`;
    slider.setAttribute("aria-valuetext", `${slider.value} pixels`);
  }
  slider.addEventListener("input", () => {
    nameSize();
    if (!state.patch) return;
    const { y, x, size } = state.patch;
    const grown = (Number(slider.value) - size) / 2;
    hide(y - grown, x - grown);
  });
  remove.addEventListener("click", show);

  // Examples, and a file of the reader's.
  function mark(button) {
    for (const other of root.querySelectorAll(".examples button")) other.setAttribute("aria-pressed", other === button);
  }
  const examples = data.images.map(({ label, pixels }) => {
    const values = nets.bytes(pixels);
    const canvas = made("canvas");
    const button = made("button", { type: "button", ariaLabel: `Image: ${label}` }, canvas, made("span", { textContent: label }));
    enlarged(canvas, photograph(values, data.input), 48);
    button.addEventListener("click", () => { mark(button); open(values, label); });
    find(".own").before(button);
    return { button, values };
  });
  async function read(file) {
    try {
      const decoded = await inside.image.decode(file);
      mark(null);
      open(inside.image.fit(decoded, data.input, data.resize), file.name);
    } catch {
      const note = find(".note");
      note.textContent = `${file.name} cannot be read as an image.`;
      note.hidden = false;
    }
  }
  const input = find(".own input");
  input.addEventListener("change", () => { if (input.files[0]) read(input.files[0]); input.value = ""; });
  root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
  root.addEventListener("dragleave", () => root.classList.remove("over"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("over");
    if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]);
  });

  // The layers, one below the other.
  const layers = net.map((layer, l) => {
    const [canvas, over] = [made("canvas"), made("canvas", { className: "over" })];
    const maps = mosaic(canvas, over, layer.shape);
    over.tabIndex = 0;
    over.setAttribute("role", "application");
    over.setAttribute("aria-label", `${title(net, l)}: ${sizes(net, l)}`);
    over.setAttribute("aria-describedby", "inside-keys");
    const caption = made("figcaption", {}, made("b", { textContent: title(net, l) }), ` ${sizes(net, l)} `);
    const steps = arithmetic(layer);
    if (steps) caption.append(made("span", { className: "steps", textContent: steps }));
    const figure = made("figure", {}, caption, made("div", { className: "maps" }, canvas, over));
    find(".stack").append(figure);
    const point = (event, spoken) => {
      const at = maps.find(event);
      if (at) choose(l, at, spoken);
    };
    over.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(event, false); });
    over.addEventListener("pointerdown", (event) => point(event, true));
    over.addEventListener("focus", () => {
      if (over.matches(":focus-visible")) choose(l, state.l === l ? state.at : largest(l), true);
    });
    over.addEventListener("keydown", (event) => press(event, l));
    return { figure, maps };
  });

  // Arrows move the place, or among single numbers; Page Up and Down change the map.
  function press(event, l) {
    const [C, H, W] = net[l].shape;
    const at = state.l === l ? state.at : largest(l);
    const map = (step) => Math.max(0, Math.min(C - 1, at.map + step));
    const moved = { PageUp: -1, PageDown: 1 }[event.key];
    const arrow = ARROWS[event.key];
    if ((!moved && !arrow && event.key !== "Enter") || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.key === "Enter") choose(l, largest(l, at.map), true);
    else if (moved) choose(l, { ...at, map: map(moved) }, true);
    else if (H * W === 1) choose(l, { ...at, map: map(arrow[0] * layers[l].maps.columns + arrow[1]) }, true);
    else {
      const inner = (v, side) => Math.max(0, Math.min(side - 1, v));
      choose(l, { map: at.map, y: inner(at.y + arrow[0], H), x: inner(at.x + arrow[1], W) }, true);
    }
  }

  // Explain the number at a place of a layer, and outline what it is computed from.
  function choose(l, at, spoken = false, host = layers[l].figure) {
    for (const before of [state.l - 1, state.l]) layers[before]?.maps.clear();
    Object.assign(state, { l, at, host });
    outline(l, at);
    const parent = wide.matches ? find(".way") : host;
    if (view.parentElement !== parent) parent.append(view);
    const shown = {
      net, l, at, classes: data.classes, image: state.patched, outputs: state.outputs, limits: state.limits,
      values: state.outputs[l], input: l ? state.outputs[l - 1] : state.patched,
    };
    const words = inside.detail.show(view, shown, (place) => choose(l, place, true));
    if (spoken) say(words);
  }
  function outline(l, { map, y, x }) {
    const layer = net[l];
    const [, H, W] = layer.shape;
    layers[l].maps.outline({ top: 0, left: 0, height: H, width: W }, [map]);
    if (H * W > 1) layers[l].maps.outline({ top: y, left: x, height: 1, width: 1 }, [map]);
    if (!l) return;
    const window = nets.windowOf(layer, y, x);
    const every = layer.weight ? Array.from({ length: layer.from[0] }, (_, c) => c) : [map];
    if (layer.kind !== "linear") layers[l - 1].maps.outline(window, every);
  }

  function fit() {
    layers.forEach(({ figure, maps }, l) =>
      maps.fit(figure.querySelector(".maps").clientWidth, HEIGHTS[net[l].kind] ?? HEIGHTS.other));
    if (state.image) draw();
  }
  nameSize();
  fit();
  const [first] = examples;
  if (first) { mark(first.button); open(first.values); }
  else {
    open(hidden);
    find(".note").textContent = "This page has no images of its own. Open or drop one.";
    find(".note").hidden = false;
  }
  new ResizeObserver(fit).observe(find(".stack"));
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  for (const moment of ["beforeprint", "afterprint"]) addEventListener(moment, draw);
  Object.assign(inside, { state, choose }); // the tests read them
})();
