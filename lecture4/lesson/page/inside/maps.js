// Drawing: the maps of a layer side by side on one canvas, single maps, and outlines over them.
"use strict";
inside.maps = (() => {
  const GAP = 2; // CSS pixels between maps
  const WIDEST = 128; // CSS pixels of a map
  const SCALES = [20, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1.5, 1, 1 / 2, 1 / 4, 1 / 8]; // CSS pixels for a number
  const RAMPS = { // below zero, zero, above zero
    light: [[8, 48, 107], [66, 146, 198], [240, 243, 246], [236, 130, 34], [110, 45, 0]],
    dark: [[190, 224, 255], [64, 142, 204], [34, 39, 45], [222, 124, 32], [255, 226, 180]],
  };
  let printing = false;
  addEventListener("beforeprint", () => { printing = true; });
  addEventListener("afterprint", () => { printing = false; });

  // Colours of −1 … 1 in 255 steps: blue below zero, the ground at zero, orange above.
  function shades(ramp) {
    return Array.from({ length: 255 }, (_, i) => {
      const at = (i / 254) * 4;
      const j = Math.min(3, Math.floor(at));
      return ramp[j].map((v, c) => Math.round(v + (at - j) * (ramp[j + 1][c] - v)));
    });
  }
  const tables = { light: shades(RAMPS.light), dark: shades(RAMPS.dark) };
  const table = () => tables[!printing && document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  const step = (v) => Math.round(127 + 127 * Math.max(-1, Math.min(1, v || 0)));
  const colour = (v) => table()[step(v)];

  // Map after map below each other, as a canvas of their own size.
  function painted(values, most, width) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height: values.length / width });
    const image = new ImageData(width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    const packed = Uint32Array.from(table(), ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r);
    for (let i = 0; i < values.length; i++) pixels[i] = packed[step(values[i] / most)];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }
  // An image (C, H, W) of numbers from 0 to 255, grey or in colour.
  function photograph(values, [C, H, W]) {
    const canvas = Object.assign(document.createElement("canvas"), { width: W, height: H });
    const image = new ImageData(W, H);
    for (let i = 0; i < H * W; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[(C === 3 ? c : 0) * H * W + i];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  // A canvas of width × height CSS pixels, sharp on any screen; its context.
  function sized(canvas, width, height) {
    const ratio = devicePixelRatio;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    return context;
  }
  const most = (values) => values.reduce((a, v) => Math.max(a, Math.abs(v)), 0) || 1;

  // An outline in the colours of the page that is seen on every ground.
  function outline(context, x, y, width, height) {
    const style = getComputedStyle(document.documentElement);
    for (const [wide, name] of [[3.5, "--paper"], [1.6, "--ink"]]) {
      context.lineWidth = wide;
      context.strokeStyle = style.getPropertyValue(name);
      context.strokeRect(x - 1, y - 1, width + 2, height + 2);
    }
  }
  // The part of a window that lies within a map of H × W.
  function within({ top, left, height, width }, H, W) {
    const [y, x] = [Math.max(0, top), Math.max(0, left)];
    return { y, x, height: Math.min(H, top + height) - y, width: Math.min(W, left + width) - x };
  }

  // The largest scale at which C maps of H × W fit into width × height.
  function arrange([C, H, W], width, height) {
    const columns = (scale) => Math.min(C, Math.max(1, Math.floor((width + GAP) / (W * scale + GAP))));
    const fits = (scale) =>
      W * scale <= Math.min(width, WIDEST) && Math.ceil(C / columns(scale)) * (H * scale + GAP) <= height;
    const scale = SCALES.find(fits) ?? SCALES.find((s) => W * s <= 16) ?? 16 / W;
    return { scale, columns: columns(scale) };
  }

  // The maps (C, H, W) of a layer on a canvas, with outlines on a second one over it.
  function mosaic(canvas, over, shape) {
    const [C, H, W] = shape;
    let context, top, scale, columns;
    const corner = (map) => [(map % columns) * (W * scale + GAP), Math.floor(map / columns) * (H * scale + GAP)];
    return {
      get columns() { return columns; },
      fit(width, height) {
        ({ scale, columns } = arrange(shape, width, height));
        const size = [columns * (W * scale + GAP) - GAP, Math.ceil(C / columns) * (H * scale + GAP) - GAP];
        context = sized(canvas, ...size);
        top = sized(over, ...size);
      },
      draw(values, limit) {
        const source = painted(values, limit, W);
        context.imageSmoothingEnabled = scale < 1;
        for (let map = 0; map < C; map++) {
          context.drawImage(source, 0, map * H, W, H, ...corner(map), W * scale, H * scale);
        }
      },
      clear() { top.clearRect(0, 0, canvas.width, canvas.height); },
      // Outline a window in each of the maps, or a whole map.
      outline(window, maps) {
        const part = within(window, H, W);
        const { clientWidth, clientHeight } = canvas;
        for (const map of maps) { // at the border of the canvas a line is moved into it
          const [x, y] = corner(map).map((v, i) => v + [part.x, part.y][i] * scale);
          const [left, above] = [Math.max(2, x), Math.max(2, y)];
          const right = Math.min(clientWidth - 2, x + part.width * scale);
          outline(top, left, above, right - left, Math.min(clientHeight - 2, y + part.height * scale) - above);
        }
      },
      // Map, row and column under an event of the pointer, or null.
      find(event) {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [event.clientX - box.left, event.clientY - box.top];
        const [column, row] = [Math.floor(x / (W * scale + GAP)), Math.floor(y / (H * scale + GAP))];
        const map = row * columns + column;
        if (x < 0 || y < 0 || column >= columns || map >= C) return null;
        const inner = (v, size) => Math.max(0, Math.min(size - 1, Math.floor(v / scale)));
        return { map, y: inner(y - row * (H * scale + GAP), H), x: inner(x - column * (W * scale + GAP), W) };
      },
    };
  }

  // A single picture (a result of `painted` or `photograph`) in a square of `side`, with an outline.
  function enlarged(canvas, source, side, window) {
    const scale = side / Math.max(source.width, source.height);
    const context = sized(canvas, source.width * scale, source.height * scale);
    context.drawImage(source, 0, 0, source.width * scale, source.height * scale);
    if (!window) return;
    const part = within(window, source.height, source.width);
    outline(context, part.x * scale, part.y * scale, part.width * scale, part.height * scale);
  }

  return { mosaic, painted, photograph, enlarged, colour, most };
})();
