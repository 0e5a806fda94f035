// A reader's own image as the net sees it: decoded, grey where it takes one channel, and made a square
// by the rules of lecture4.data.decode. Pixels are a Uint8Array (channels, height, width).
"use strict";
inside.image = (() => {
  const MOST = 16e6; // pixels that a canvas holds on any phone

  // A file's pixels {pixels, width, height}: upright, transparent ones white.
  async function decode(file) {
    const picture = await createImageBitmap(file); // applies the EXIF orientation
    const scale = Math.min(1, Math.sqrt(MOST / (picture.width * picture.height)));
    const [width, height] = [picture.width, picture.height].map((n) => Math.max(1, Math.floor(n * scale)));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const pixels = new Uint8Array(3 * width * height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) pixels[c * width * height + i] = data[4 * i + c];
    }
    return { pixels, width, height };
  }

  // Rec. 601 luma in 16 bits, as Pillow converts RGB to L.
  function grey({ pixels, width, height }) {
    const n = width * height;
    const luma = (_, i) => (19595 * pixels[i] + 38470 * pixels[n + i] + 7471 * pixels[2 * n + i] + 0x8000) >> 16;
    return { pixels: Uint8Array.from({ length: n }, luma), width, height };
  }

  const ONE = 2 ** 22; // weights are whole numbers of this unit, so that sums are exact

  // Where each of `size` outputs begins, and its weights: a triangle over the inputs from `low` to
  // `high`, twice as wide as an output where it reduces. Source: Pillow, Resample.c.
  function triangles(inputs, low, high, size) {
    const scale = (high - low) / size;
    const reach = Math.max(scale, 1);
    return Array.from({ length: size }, (_, o) => {
      const centre = low + (o + 0.5) * scale;
      const begin = Math.max(0, Math.trunc(centre - reach + 0.5));
      const end = Math.min(inputs, Math.trunc(centre + reach + 0.5));
      const weights = Array.from({ length: end - begin }, (_, i) =>
        Math.max(0, 1 - Math.abs((begin + i - centre + 0.5) / reach)));
      const sum = weights.reduce((a, b) => a + b, 0);
      return { begin, weights: weights.map((w) => Math.floor(0.5 + (w / sum) * ONE)) };
    });
  }

  const rounded = (sum) => Math.min(255, Math.floor((sum + ONE / 2) / ONE));

  // The part {left, top, right, bottom} of the image in width × height: rows, then columns.
  function resize(image, part, width, height) {
    const channels = image.pixels.length / (image.width * image.height);
    const across = triangles(image.width, part.left, part.right, width);
    const down = triangles(image.height, part.top, part.bottom, height);
    const rows = new Uint8Array(channels * image.height * width);
    for (let r = 0; r < channels * image.height; r++) {
      across.forEach(({ begin, weights }, o) => {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * image.pixels[r * image.width + begin + i];
        rows[r * width + o] = rounded(sum);
      });
    }
    const out = new Uint8Array(channels * height * width);
    for (let c = 0; c < channels; c++) {
      down.forEach(({ begin, weights }, o) => {
        for (let x = 0; x < width; x++) {
          let sum = 0;
          for (let i = 0; i < weights.length; i++) sum += weights[i] * rows[(c * image.height + begin + i) * width + x];
          out[(c * height + o) * width + x] = rounded(sum);
        }
      });
    }
    return out;
  }

  const whole = ({ width, height }) => ({ left: 0, top: 0, right: width, bottom: height });
  const squares = {
    stretch: (image, size) => resize(image, whole(image), size, size),
    crop(image, size) {
      const side = Math.min(image.width, image.height);
      const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
      return resize(image, { left, top, right: left + side, bottom: top + side }, size, size);
    },
    pad(image, size) { // on black; halves are rounded to even, as in Python
      const even = (v) => (v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
      const side = Math.max(image.width, image.height);
      const [width, height] = [image.width, image.height].map((n) => Math.max(1, even((size * n) / side)));
      const small = resize(image, whole(image), width, height);
      const [left, top] = [Math.floor((size - width) / 2), Math.floor((size - height) / 2)];
      const out = new Uint8Array((small.length / (width * height)) * size * size);
      for (let r = 0; r < small.length / width; r++) {
        const [c, y] = [Math.floor(r / height), r % height];
        out.set(small.subarray(r * width, (r + 1) * width), (c * size + top + y) * size + left);
      }
      return out;
    },
  };

  // An image of any size as the net takes it: (C, H, W) with H = W.
  function fit(image, [C, H], how) {
    return squares[how](C === 1 ? grey(image) : image, H);
  }

  return { decode, fit, grey };
})();
