// Tools on the plane: add, move and erase points by mouse, finger and keyboard.
"use strict";
playground.tools = (canvas, plane, board) => {
  const { REACH } = playground.picture;
  const CLASSES = ["blue", "orange"];
  const [GRAB, BRUSH, NEAR] = [24, 14, 0.3]; // pixels, pixels, and units of the plane from the cross
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  let last = null; // where a pressed pointer acted
  let carried = null; // the point that moves
  let cross = { x: 0, y: 0 }; // where the keyboard acts; shown while the plane has the focus

  const distance = (p, q) => Math.hypot(p.x - q.x, p.y - q.y);
  const inside = ({ x, y }) => ({
    x: Math.max(-REACH, Math.min(REACH, x)),
    y: Math.max(-REACH, Math.min(REACH, y)),
  });
  const nearest = (place, reach) =>
    board.points.reduce((best, p) => (distance(p, place) < (best ? distance(best, place) : reach) ? p : best), null);

  function add(place) {
    board.points.push({ ...inside(place), k: Number(board.tool()), held: false });
  }
  function drop(gone) {
    board.points = board.points.filter((p) => !gone(p));
  }

  // Mouse and finger: press, then drag.
  function use(place) {
    if (board.tool() === "move") {
      if (!carried) return;
      Object.assign(carried, inside(place));
    } else if (board.tool() === "erase") drop((p) => distance(p, place) < BRUSH * place.unit);
    else if (last && distance(place, last) < BRUSH * place.unit) return;
    else add(place);
    last = place;
    board.changed("");
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    const place = plane.find(event);
    if (board.tool() === "move") carried = nearest(place, GRAB * place.unit);
    last = board.cursor = null;
    use(place);
    last = place;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) use(plane.find(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (last) board.changed("");
      last = carried = null;
    });
  }

  // Keyboard: the arrows move a cross, and the point that it carries.
  function step([right, up], size) {
    cross = board.cursor = inside({ x: cross.x + size * right, y: cross.y + size * up });
    if (carried) {
      Object.assign(carried, cross);
      board.changed("");
    }
    tell();
  }
  function tell() {
    const { x, y } = cross;
    const near = nearest(cross, NEAR);
    board.say(
      `x ${x.toFixed(1)}, y ${y.toFixed(1)}: probability of orange ${board.probability(x, y).toFixed(2)}; ` +
        `${near ? `nearest point ${CLASSES[near.k]}` : "no point near"}.`
    );
  }
  function press() {
    if (board.tool() === "erase") return erase();
    if (board.tool() !== "move") {
      add(cross);
      return board.changed(`${CLASSES[board.tool()]} point added. `);
    }
    const put = carried;
    carried = put ? null : nearest(cross, NEAR);
    return board.say(put ? "Put down." : carried ? `Carrying: ${CLASSES[carried.k]} point.` : "No point near.");
  }
  function erase() {
    const point = nearest(cross, NEAR);
    if (!point) return board.say("No point near.");
    drop((p) => p === point);
    return board.changed(`${CLASSES[point.k]} point erased. `);
  }
  const keys = { Enter: press, " ": press, Delete: erase, Backspace: erase, Escape: () => { carried = null; tell(); } };
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if ((!arrow && !keys[event.key]) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    board.cursor = cross;
    if (arrow) step(arrow, event.shiftKey ? 0.5 : 0.1);
    else keys[event.key]();
  });
  canvas.addEventListener("focus", () => {
    if (!canvas.matches(":focus-visible")) return;
    board.cursor = cross;
    tell();
  });
  canvas.addEventListener("blur", () => {
    board.cursor = carried = null;
    board.say("");
  });
};
