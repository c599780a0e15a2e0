/** Curves: lines over an x, with axes, as SVG. */

import { svg } from "./dom.js";

const EDGE = { left: 44, right: 10, top: 30, bottom: 26 };
const HEIGHT = 190;

export class Chart {
  #host;
  #title;
  #format;
  #top;
  #lines = [];

  /**
   * `format` says a number of the y axis with so many decimals; `top` is the most that y can be, if
   * there is one.
   */
  constructor(host, title, { format = fixed, top = null } = {}) {
    Object.assign(host, { className: "chart" });
    [this.#host, this.#title, this.#format, this.#top] = [host, title, format, top];
    new ResizeObserver(() => this.#draw()).observe(host);
  }

  /** Shows lines: {name, points: [[x, y], ...], rings: the same}; two are told apart. */
  show(lines) {
    this.#lines = lines;
    this.#draw();
  }

  #draw() {
    const width = this.#host.clientWidth;
    if (!width) return; // another tab is shown
    const all = this.#lines.flatMap(({ points, rings }) => [...points, ...rings]);
    const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
    const xTicks = ticks(0, Math.max(...xs, 1), 6);
    const yTicks = ticks(Math.min(...ys, ys.length ? Infinity : 0), Math.max(...ys, ys.length ? -Infinity : 1), 4, this.#top);
    const x = scale(0, xTicks.at(-1), EDGE.left, width - EDGE.right);
    const y = scale(yTicks[0], yTicks.at(-1), HEIGHT - EDGE.bottom, EDGE.top);
    const places = decimals(yTicks);
    const label = [this.#title, ...this.#lines.map((line) => this.#told(line, places + 1))].join("; ");
    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
    for (const value of yTicks) {
      picture.append(
        svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
        svg("text", { class: "y", x: EDGE.left - 8, y: y(value) + 4 }, this.#format(value, places)));
    }
    for (const value of xTicks) {
      picture.append(svg("text", { class: "x", x: x(value), y: HEIGHT - 8 }, String(value)));
    }
    picture.append(
      svg("text", { class: "title", x: 0, y: 14 }, this.#title),
      svg("text", { x: 0, y: HEIGHT - 8 }, "epoch"));
    this.#lines.forEach(({ points, rings }, at) => {
      const path = points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
      const line = svg("g", { class: at ? "second" : "first" }, svg("polyline", { points: path }));
      for (const [a, b] of rings) line.append(svg("circle", { cx: x(a), cy: y(b), r: 3.5 }));
      picture.append(line);
    });
    if (this.#lines.length > 1) picture.append(this.#names(width));
    this.#host.replaceChildren(picture);
  }

  #names(width) {
    const [first, second] = this.#lines.map(({ name }) => name);
    return svg("text", { class: "y", x: width - EDGE.right, y: 14 },
      svg("tspan", { class: "first" }, first), svg("tspan", { class: "second", dx: 14 }, second));
  }

  #told({ name, points }, places) {
    if (!points.length) return `${name}: nothing yet`;
    return `${name}: from ${this.#format(points[0][1], places)} to ${this.#format(points.at(-1)[1], places)}`;
  }
}

/** A number with so many decimals; a huge one, as of a training that goes wrong, in its short form. */
const fixed = (value, places) => (Math.abs(value) < 1e6 ? value.toFixed(places) : value.toExponential(2));

/** How many decimals some numbers need at least. */
function decimals(numbers) {
  let places = 0;
  while (places < 12 && numbers.some((number) => Number(number.toFixed(places)) !== number)) places += 1;
  return places;
}

/** Maps one range on another. */
export const scale = (from, to, start, end) => (value) => start + ((value - from) / (to - from)) * (end - start);

/** Round numbers that hold a range between them, about `number` of them, and none above `top`. */
export function ticks(low, high, number, top = null) {
  const rough = (high - low || Math.abs(high) || 1) / number;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  const all = Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
  return top === null || all[1] > top ? all : all.filter((value) => value <= top);
}
