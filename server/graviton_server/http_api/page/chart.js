// Steps over time as SVG: a sample holds until the next one.

import { h, svg } from "./dom.js";
import { bytes, time } from "./format.js";

const LEFT = 72, RIGHT = 12, TOP = 12, BOTTOM = 28;

function ticks(most) {
  const base = 1024 ** Math.floor(Math.log(most) / Math.log(1024));
  let step = base;
  for (const factor of [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]) {
    if ((most / (base * factor)) <= 5) { step = base * factor; break; }
  }
  const found = [];
  for (let at = 0; at <= most + step * 0.999; at += step) found.push(at);
  return found;
}

function timeTicks(from, to, width) {
  const wanted = Math.max(2, Math.floor(width / 130));
  const span = to - from;
  const steps = [300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000];
  const step = steps.find((one) => span / one <= wanted) ?? steps.at(-1);
  const offset = new Date(from * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) found.push(at);
  const form = step < 86400 ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric" };
  return found.map((at) => [at, new Date(at * 1000).toLocaleString([], step < 86400 && span > 86400 ? { ...form, weekday: "short" } : form)]);
}

// series: [{ key, label, class }], of bytes.
export function chart(samples, series, from, to, title) {
  const readout = h("div", { class: "readout", "aria-live": "polite" });
  const holder = h("div", { class: "plot", tabindex: "0", role: "img", "data-key": `plot-${title}` });
  const at = (moment) => {
    let found = null;
    for (const one of samples) { if (one.time <= moment) found = one; else break; }
    return found;
  };
  let cursor = to;

  function tell(moment) {
    const sample = at(moment);
    readout.replaceChildren(h("span", { class: "when" }, time(moment)), ...series.map((one) =>
      h("span", { class: "key" }, h("i", { class: `swatch ${one.class}` }), `${one.label} `, h("b", {}, sample ? bytes(sample[one.key]) : "–"))));
  }

  function draw() {
    const width = Math.max(280, holder.clientWidth || 600), height = 240;
    const inner = width - LEFT - RIGHT, tall = height - TOP - BOTTOM;
    const most = Math.max(1, ...samples.filter((one) => one.time <= to).flatMap((one) => series.map((line) => one[line.key])));
    const marks = ticks(most);
    const top = marks.at(-1) || 1;
    const x = (moment) => LEFT + (inner * (Math.min(to, Math.max(from, moment)) - from)) / (to - from);
    const y = (value) => TOP + tall * (1 - value / top);
    const line = (key) => {
      let path = "";
      let last = null;
      for (const one of samples) {
        if (one.time > to) break;
        const place = x(one.time);
        path += last === null ? `M${place.toFixed(1)} ${y(one[key]).toFixed(1)}` : `H${place.toFixed(1)}V${y(one[key]).toFixed(1)}`;
        last = one;
      }
      return last === null ? "" : `${path}H${x(to).toFixed(1)}`;
    };
    const rule = svg("line", { class: "cursor", y1: TOP, y2: TOP + tall, x1: x(cursor), x2: x(cursor) });
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
      marks.map((one) => [svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(one), y2: y(one) }),
        svg("text", { x: LEFT - 8, y: y(one) + 4, class: "label end" }, bytes(one))]),
      timeTicks(from, to, inner).map(([moment, label]) => svg("text", { x: x(moment), y: height - 8, class: "label middle" }, label)),
      series.map((one) => svg("path", { d: line(one.key), class: `line ${one.class}` })), rule);
    const move = (moment) => {
      cursor = Math.min(to, Math.max(from, moment));
      rule.setAttribute("x1", x(cursor));
      rule.setAttribute("x2", x(cursor));
      tell(cursor);
    };
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      move(from + ((event.clientX - box.left - LEFT) / inner) * (to - from));
    });
    drawing.addEventListener("pointerleave", () => move(to));
    holder.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1000, End: 1000 }[event.key];
      if (!step) return;
      event.preventDefault();
      move(cursor + (step * (to - from)) / 60);
    };
    holder.replaceChildren(drawing);
    tell(cursor);
  }

  const last = at(to);
  holder.setAttribute("aria-label", `${title}. Now: ${series.map((one) => `${one.label} ${last ? bytes(last[one.key]) : "not known"}`).join(", ")}. Arrow keys tell earlier values.`);
  new ResizeObserver(draw).observe(holder);
  return h("figure", { class: "chart" }, readout, holder);
}
