// Draws the page's figures in its theme, and provides controls to widgets.
"use strict";
const lecture = (() => {
  const { colours, figures } = JSON.parse(document.getElementById("data").textContent);
  const config = { responsive: true, displayModeBar: false, displaylogo: false, scrollZoom: false };
  const widgets = {};
  let printing = false;

  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A layout completed with the colours of the theme.
  function themed(layout = {}) {
    const [ink, line] = printing ? ["#1b1f24", "#d9dee4"] : [tone("--ink"), tone("--line")];
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, title: { standoff: 8 } };
    const made = {
      margin: { l: 48, r: 12, t: 30, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      dragmode: false,
      hovermode: "closest",
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
      ...structuredClone(layout),
    };
    made.font = { size: 12, ...layout.font, color: ink, family: getComputedStyle(document.body).fontFamily };
    delete made.width;
    for (const key of Object.keys(made)) {
      if (/^[xy]axis\d*$/.test(key)) made[key] = merged(axis, made[key]);
    }
    for (const key of ["xaxis", "yaxis"]) made[key] ??= structuredClone(axis);
    for (const note of made.annotations ?? []) {
      if (!note.font?.color) note.font = { ...note.font, color: ink };
      if (note.showarrow && !note.arrowcolor) note.arrowcolor = ink;
    }
    return made;
  }

  function merged(base, over = {}) {
    const made = { ...base, ...over };
    if (typeof over.title === "string") made.title = { text: over.title };
    made.title = { ...base.title, ...made.title };
    return made;
  }

  // One figure after the other, so that the playground answers in between.
  async function draw() {
    new MutationObserver(() => again()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    addEventListener("beforeprint", () => { printing = true; again(660); });
    addEventListener("afterprint", () => { printing = false; again(); });
    for (const item of figures) {
      await new Promise((done) => { setTimeout(done); });
      const element = document.getElementById(item.id);
      if (item.widget) widgets[item.widget](element, item.data, kit);
      else show(element, item.data, item.layout);
    }
    document.documentElement.dataset.ready = "true";
  }

  // On a phone a long legend takes many lines, which are added to the figure's height.
  function height(element, traces, layout) {
    const named = traces.filter((t) => t.showlegend !== false && t.name).length;
    const lines = element.clientWidth < 500 && layout?.showlegend !== false ? Math.max(0, named - 3) : 0;
    return (layout?.height ?? 380) + 19 * lines;
  }

  function show(element, traces, layout) {
    element.drawn = { traces, layout };
    element.classList.add("drawn");
    const tall = height(element, traces, layout);
    element.style.height = `${tall}px`;
    return Plotly.react(element, structuredClone(traces), themed({ ...layout, height: tall }), config);
  }

  function again(width) {
    for (const element of document.querySelectorAll(".drawn")) {
      const { traces, layout } = element.drawn;
      show(element, traces, layout);
      if (width) Plotly.relayout(element, { width, autosize: false });
      else Plotly.relayout(element, { width: null, autosize: true });
    }
  }

  // Controls of widgets.
  let count = 0;
  function made(root, tag, properties = {}) {
    const element = Object.assign(document.createElement(tag), properties);
    root.append(element);
    return element;
  }

  function control(root, label, tag, properties, onchange, show) {
    const box = made(root, "div", { className: "control" });
    const id = `control-${count++}`;
    const name = made(box, "label", { htmlFor: id, textContent: label + " " });
    const value = made(name, "span", { className: "value" });
    const input = made(box, tag, { id, ...properties });
    const read = () => (tag === "select" ? input.value : Number(input.value));
    const say = () => {
      if (!show) return;
      value.textContent = show(read());
      input.setAttribute("aria-valuetext", show(read()));
    };
    input.addEventListener("input", () => { say(); onchange?.(read()); });
    return {
      input,
      say,
      get value() { return read(); },
      set(v) { input.value = v; say(); onchange?.(read()); },
    };
  }

  const kit = {
    colours,
    row: (root) => made(root, "div", { className: "row" }),
    output: (root) => {
      const element = made(root, "output");
      element.setAttribute("aria-live", "polite");
      return element;
    },
    button: (root, label, onclick) => {
      const element = made(root, "button", { type: "button", textContent: label });
      element.addEventListener("click", onclick);
      return element;
    },
    slider(root, { label, min, max, step, value, show = String }, onchange) {
      const part = control(root, label, "input", { type: "range" }, onchange, show);
      Object.assign(part.input, { min, max, step });
      part.input.value = value;
      part.say();
      return part;
    },
    number(root, { label, min, max, step = 1, value }, onchange) {
      const part = control(root, label, "input", { type: "number" }, onchange);
      Object.assign(part.input, { min, max, step, value });
      return part;
    },
    choice(root, { label, options, value }, onchange) {
      const part = control(root, label, "select", {}, onchange);
      for (const [key, text] of options) made(part.input, "option", { value: key, textContent: text });
      part.input.value = value;
      return part;
    },
    plot(root, traces, layout, alt) {
      const element = made(root, "div", { className: "plot" });
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", alt ?? "");
      show(element, traces, layout);
      return { element, update: (newTraces, newLayout = layout) => show(element, newTraces, newLayout) };
    },
    table(root, header, rows) {
      const scroll = made(root, "div", { className: "scroll", tabIndex: 0 });
      const table = made(scroll, "table");
      const head = made(made(table, "thead"), "tr");
      for (const cell of header) made(head, "th", { scope: "col", textContent: cell });
      const body = made(table, "tbody");
      const update = (newRows) => {
        body.replaceChildren();
        for (const row of newRows) {
          const line = made(body, "tr");
          for (const cell of row) made(line, "td", { textContent: cell });
        }
      };
      update(rows);
      return { update };
    },
  };

  return { widget: (name, make) => { widgets[name] = make; }, draw };
})();
