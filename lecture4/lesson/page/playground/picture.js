// Drawing: the plane with its points and the decision boundary, the loss curves, the sizes in layers.
"use strict";
playground.picture = (() => {
  const REACH = 2.5; // the plane shows x and y from −REACH to REACH
  const WORK = 1e6; // products of numbers that a picture of a net in training may cost
  const [BOUNDARY, AXES] = ["#d1495b", "#7f8c8d"];
  const { features } = playground.points;
  const { forward } = playground.net;

  // s₁ − s₀ on a grid of cells, rows from the top: above 0 the second class is the likelier one.
  function margins(net, feature, cells) {
    const place = (i) => (((i + 0.5) / cells) * 2 - 1) * REACH;
    const m = new Float64Array(cells * cells);
    for (let row = 0; row < cells; row++) {
      const x = new Float64Array(2 * cells);
      for (let i = 0; i < cells; i++) x.set(features[feature](place(i), -place(row)), 2 * i);
      const s = forward(net, x).at(-1);
      for (let i = 0; i < cells; i++) m[row * cells + i] = s[2 * i + 1] - s[2 * i];
    }
    return m;
  }

  // Cells on a side: fewer for a large net in training, so that it stays fluid.
  function cellsFor(net, moving) {
    const products = net.layers.reduce((sum, { W }) => sum + W.length, 0);
    return moving ? Math.max(24, Math.min(80, Math.floor(Math.sqrt(WORK / products)))) : 128;
  }

  // Each cell in the colour of its class, the stronger the more certain: opacity ∝ |2P − 1|.
  function paintCells({ data }, m, colours) {
    for (let i = 0; i < m.length; i++) {
      const p = 1 / (1 + Math.exp(-m[i])); // softmax of two scores
      const colour = colours[p > 0.5 ? 1 : 0];
      for (let c = 0; c < 3; c++) data[4 * i + c] = colour[c];
      data[4 * i + 3] = 15 + 80 * Math.abs(2 * p - 1);
    }
  }

  // The line s₁ = s₀ by marching squares: in each square, between the edges where the sign changes.
  function traceBoundary(path, m, cells, size) {
    const at = (i) => ((i + 0.5) * size) / cells;
    for (let row = 0; row + 1 < cells; row++) {
      for (let i = 0; i + 1 < cells; i++) {
        const j = row * cells + i;
        const above = (m[j] > 0) + (m[j + 1] > 0) + (m[j + cells] > 0) + (m[j + cells + 1] > 0);
        if (above % 4) cross(i, row);
      }
    }
    function cross(i, row) {
      const corners = [[i, row], [i + 1, row], [i + 1, row + 1], [i, row + 1]];
      const ends = corners.flatMap(([a, b], e) => {
        const [c, d] = corners[(e + 1) % 4];
        const [v, w] = [m[b * cells + a], m[d * cells + c]];
        const t = v / (v - w);
        return v > 0 === w > 0 ? [] : [[at(a + t * (c - a)), at(b + t * (d - b))]];
      });
      for (let e = 0; e + 1 < ends.length; e += 2) {
        path.moveTo(...ends[e]);
        path.lineTo(...ends[e + 1]);
      }
    }
  }

  const parse = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

  // The plane on a canvas; colours of the two classes as #rrggbb.
  function plane(canvas, colours) {
    const shades = colours.map(parse);
    const grid = document.createElement("canvas");
    const ctx = canvas.getContext("2d");
    const top = document.createElement("canvas"); // axes and points, which seldom change
    const over = top.getContext("2d");
    let size = 0; // in CSS pixels
    let shown = [];
    const toPixel = (v) => ((v / REACH + 1) * size) / 2;

    function fit() {
      size = canvas.clientWidth;
      canvas.width = canvas.height = top.width = top.height = Math.round(size * devicePixelRatio);
      for (const context of [ctx, over]) context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      place(shown);
    }
    function place(points) {
      shown = points;
      over.clearRect(0, 0, size, size);
      drawAxes();
      drawPoints(points);
    }

    function drawNet(net, feature, moving) {
      const cells = cellsFor(net, moving);
      if (grid.width !== cells) grid.width = grid.height = cells;
      const image = new ImageData(cells, cells);
      const m = margins(net, feature, cells);
      paintCells(image, m, shades);
      grid.getContext("2d").putImageData(image, 0, 0);
      ctx.drawImage(grid, 0, 0, size, size);
      const path = new Path2D();
      traceBoundary(path, m, cells, size);
      ctx.lineWidth = 2.5;
      ctx.strokeStyle = BOUNDARY;
      ctx.stroke(path);
    }

    // Both axes, with a mark at each whole number.
    function drawAxes() {
      const path = new Path2D(`M0,${size / 2}h${size}M${size / 2},0v${size}`);
      over.font = "11px system-ui, sans-serif";
      over.fillStyle = over.strokeStyle = AXES;
      for (const v of [-2, -1, 1, 2]) {
        path.moveTo(toPixel(v), size / 2 - 3);
        path.lineTo(toPixel(v), size / 2 + 3);
        path.moveTo(size / 2 - 3, toPixel(v));
        path.lineTo(size / 2 + 3, toPixel(v));
      }
      over.lineWidth = 1;
      over.stroke(path);
      over.fillText("x", size - 12, size / 2 - 6);
      over.fillText("y", size / 2 + 6, 13);
      over.fillText("2", toPixel(2) - 3, size / 2 + 15);
      over.fillText("2", size / 2 + 6, toPixel(-2) + 4);
    }

    // Discs and squares; held-out points are hollow.
    function drawPoints(points) {
      const r = size < 400 ? 3.2 : 3.8;
      for (const k of [0, 1]) {
        for (const held of [true, false]) {
          const path = new Path2D();
          for (const point of points) {
            if (point.k !== k || point.held !== held) continue;
            const [px, py] = [toPixel(point.x), toPixel(-point.y)];
            if (k) path.rect(px - r + 0.4, py - r + 0.4, 2 * r - 0.8, 2 * r - 0.8);
            else { path.moveTo(px + r, py); path.arc(px, py, r, 0, 2 * Math.PI); }
          }
          over.lineWidth = held ? 1.8 : 0.8;
          over.strokeStyle = held ? colours[k] : "#ffffff";
          over.fillStyle = colours[k];
          if (!held) over.fill(path);
          over.stroke(path);
        }
      }
    }

    // Where the keyboard acts.
    function drawCursor({ x, y }) {
      const [px, py] = [toPixel(x), toPixel(-y)];
      for (const [width, colour] of [[5, "#ffffff"], [2, "#000000"]]) {
        ctx.lineWidth = width;
        ctx.strokeStyle = colour;
        ctx.stroke(new Path2D(`M${px - 12},${py}h24M${px},${py - 12}v24`));
      }
    }

    return {
      fit,
      place,
      draw(net, feature, moving, cursor) {
        ctx.clearRect(0, 0, size, size);
        drawNet(net, feature, moving);
        ctx.drawImage(top, 0, 0, size, size);
        if (cursor) drawCursor(cursor);
      },
      // The point of the plane under an event of the pointer, and the length of a pixel there.
      find(event) {
        const box = canvas.getBoundingClientRect();
        const unit = (2 * REACH) / box.width;
        return { x: (event.clientX - box.left) * unit - REACH, y: REACH - (event.clientY - box.top) * unit, unit };
      },
    };
  }

  // Loss curves in an SVG of 360 × 190 with a logarithmic loss axis.
  function curves(svg) {
    const [left, right, top, bottom] = [40, 352, 8, 166];
    const part = (name) => svg.querySelector(`.${name}`);
    const text = (x, y, words, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;

    // Powers of ten around the losses.
    function decades(losses) {
      const shown = losses.filter((v) => v > 0 && v < Infinity).map(Math.log10);
      const low = Math.max(-8, Math.floor(Math.min(-1, ...shown)));
      return [low, Math.max(low + 1, Math.ceil(Math.max(0, ...shown)))];
    }

    return (runs) => {
      const all = runs.flatMap((run) => run.flatMap((p) => [p.training, p.held]));
      const [low, high] = decades(all);
      const last = Math.max(50, ...runs.flatMap((run) => run.slice(-1).map((p) => p.t)));
      const x = (t) => left + ((right - left) * t) / last;
      const y = (v) => bottom - (bottom - top) * Math.min(1, Math.max(0, (Math.log10(v) - low) / (high - low)));
      const line = (run, key) => {
        const places = run.filter((p) => Number.isFinite(p[key])).map((p) => [x(p.t), y(p[key])]);
        return places.map(([px, py], i) => `${i ? "L" : "M"}${px.toFixed(1)},${py.toFixed(1)}`).join("");
      };
      ["now", "before"].forEach((name, i) => {
        for (const key of ["training", "held"]) part(`${name}.${key}`).setAttribute("d", line(runs[i], key));
      });
      const powers = Array.from({ length: high - low + 1 }, (_, i) => low + i);
      const step = Math.ceil(powers.length / 5);
      const marked = powers.filter((p) => (p - low) % step === 0);
      part("grid").setAttribute("d", marked.map((p) => `M${left},${y(10 ** p).toFixed(1)}H${right}`).join(""));
      part("marks").innerHTML =
        marked.map((p) => text(left - 5, y(10 ** p) + 4, p < -3 ? `1e−${-p}` : 10 ** p, "end")).join("") +
        text(left, bottom + 16, "0", "middle") + text(right, bottom + 16, last.toLocaleString("en"), "end");
    };
  }

  // 0.0123, 1.2e-9: three digits.
  function amount(v) {
    const plain = v === 0 || (Math.abs(v) >= 1e-3 && Math.abs(v) < 1e4);
    return plain ? String(Number(v.toPrecision(3))) : v.toExponential(1).replace("-", "−");
  }

  // A row for each layer: root mean square of its outputs and of ∂L/∂W, with a bar from 1e-8 to 100.
  function layers(body) {
    const percent = (v) => (v > 0 ? Math.min(100, Math.max(0, 10 * (Math.log10(v) + 8))) : 0);
    const made = (tag) => document.createElement(tag);
    return (sizes) => {
      while (body.rows.length > sizes.length) body.deleteRow(-1);
      while (body.rows.length < sizes.length) {
        const name = Object.assign(made("th"), { scope: "row" });
        body.insertRow().append(name, made("td"), made("td"));
      }
      sizes.forEach(({ name, output, gradient }, l) => {
        const [head, ...cells] = body.rows[l].cells;
        if (head.textContent !== name) head.textContent = name;
        [output, gradient].forEach((v, i) => {
          cells[i].textContent = amount(v);
          cells[i].style.setProperty("--bar", `${percent(v).toFixed(1)}%`);
        });
      });
    };
  }

  return { plane, curves, layers, amount, REACH };
})();
