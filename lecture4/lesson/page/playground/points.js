// Points of two classes in the plane, their features, and random numbers of a seed.
"use strict";
const playground = {};
playground.points = (() => {
  // Uniform in [0, 1); the same seed gives the same numbers. Source: mulberry32, Tommy Ettinger 2017.
  function random(seed) {
    let a = seed;
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), a | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // z ~ N(0, 1). Source: Box & Muller 1958.
  const normal = (uniform) =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

  // r and θ of a point of class k; rings as lecture4.data.make_rings draws them.
  const shapes = {
    rings: (k, u, v) => [0.8 * u + 1.2 * k, 2 * Math.PI * v],
    spirals: (k, u) => [0.2 + 1.9 * u, Math.PI * (2.5 * u + k)],
  };

  // Points {x, y, k, held}: every fourth of each class is held out of training.
  function draw(shape, count, noise, seed) {
    if (!shapes[shape]) return [];
    const uniform = random(seed);
    return Array.from({ length: count }, (_, i) => {
      const k = i % 2;
      const [r, theta] = shapes[shape](k, uniform(), uniform());
      const x = r * Math.cos(theta) + noise * normal(uniform);
      const y = r * Math.sin(theta) + noise * normal(uniform);
      return { x, y, k, held: i % 8 > 5 };
    });
  }

  // (x, y), or the lecture's f(x, y) = (r, θ), as lecture4.data.preprocess.Polar.
  const features = {
    xy: (x, y) => [x, y],
    polar: (x, y) => [Math.sqrt(x * x + y * y), Math.atan2(y, x)],
  };

  // Inputs (N, 2), row by row, and classes (N) of points.
  function table(points, feature) {
    const x = new Float64Array(2 * points.length);
    points.forEach((point, n) => x.set(features[feature](point.x, point.y), 2 * n));
    return { x, y: Uint8Array.from(points, (point) => point.k) };
  }

  return { random, normal, draw, features, table };
})();
