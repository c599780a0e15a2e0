/** The tab Fit a line: the least mean squared loss of y = mx + b, by hand and by gradient descent. */

import { scale, ticks } from "./chart.js";
import { $, calm, make, svg } from "./dom.js";
import { fill } from "./pixels.js";

const POINTS = [[0, 10], [1, 20], [2, 25], [3, 30], [4, 40], [5, 45], [6, 40], [7, 50], [8, 60], [9, 55]];
const START = { m: -2, b: 40 };
const RATE = 0.0171; // one over the largest curvature of the loss
const AREA = { x: [-0.5, 9.5], y: [-5, 75], m: [-6, 14], b: [-20, 60] };
const FRAME = { left: 34, right: 392, top: 8, bottom: 272 }; // in both pictures
const CLOSE = 1e-4; // a slope of the loss that is as good as none
const FAR = 1e6;

const across = (range) => scale(...range, FRAME.left, FRAME.right);
const up = (range) => scale(...range, FRAME.bottom, FRAME.top);
const back = { x: scale(FRAME.left, FRAME.right, ...AREA.x), y: scale(FRAME.bottom, FRAME.top, ...AREA.y),
  m: scale(FRAME.left, FRAME.right, ...AREA.m), b: scale(FRAME.bottom, FRAME.top, ...AREA.b) };
const [toX, toY, toM, toB] = [across(AREA.x), up(AREA.y), across(AREA.m), up(AREA.b)];
const clamp = (value, [least, most]) => Math.max(least, Math.min(most, value));
const mean = (numbers) => numbers.reduce((total, number) => total + number, 0) / numbers.length;

let points = POINTS.map((point) => [...point]);
let hand = { ...START };
let path = []; // of the program, from your place on
let playing = 0; // the timer, while it plays

const loss = ({ m, b }) => mean(points.map(([x, y]) => (m * x + b - y) ** 2));

/** The slope of the loss, for m and for b. */
function gradient({ m, b }) {
  const residuals = points.map(([x, y]) => [x, m * x + b - y]);
  return { m: 2 * mean(residuals.map(([x, r]) => x * r)), b: 2 * mean(residuals.map(([, r]) => r)) };
}

/** The best line, by the normal equations; null where all x are one. */
function closedForm() {
  const [x, y] = [mean(points.map(([each]) => each)), mean(points.map(([, each]) => each))];
  const spread = mean(points.map(([each]) => (each - x) ** 2));
  if (spread < 1e-9) return null;
  const m = mean(points.map(([a, b]) => (a - x) * (b - y))) / spread;
  return { m, b: y - m * x };
}

/** The learning rate from which on each step overshoots: two over the largest curvature. */
function limit() {
  const [x, squares] = [mean(points.map(([each]) => each)), mean(points.map(([each]) => each ** 2))];
  return 2 / (squares + 1 + Math.hypot(squares - 1, 2 * x));
}

/** Takes some steps down the slope. */
function descend(steps) {
  const rate = $("line-rate").valueAsNumber;
  if (!path.length) path = [{ ...hand }];
  for (let step = 0; step < steps && !ended(); step++) {
    const at = path.at(-1), slope = gradient(at);
    path.push({ m: at.m - rate * slope.m, b: at.b - rate * slope.b });
  }
  showProgram();
  if (ended()) pause();
}

/** Whether there is nothing more to do: it has arrived, or it has left. */
function ended() {
  if (!path.length) return false;
  const slope = gradient(path.at(-1));
  return !(Math.hypot(slope.m, slope.b) > CLOSE) || !(Math.abs(path.at(-1).b) < FAR);
}

function play() {
  if (playing) {
    pause();
    return;
  }
  if (ended()) path = [];
  $("line-play").textContent = "Pause";
  const tick = () => {
    const few = path.length < 60 ? 1 : Math.ceil(path.length / 40); // slow at first, to be watched
    descend(calm() ? 400 : few);
  };
  playing = setInterval(tick, calm() ? 400 : 40);
  tick();
}

function pause() {
  clearInterval(playing);
  playing = 0;
  $("line-play").textContent = "Play";
}

/** Takes the program back to your place. */
function reset() {
  pause();
  path = [];
  showProgram();
}

function showAll() {
  showHand();
  showMap();
  showProgram();
}

/** Your line, with what it misses each point by. */
function showHand() {
  const { m, b } = hand;
  $("line-m").value = m;
  $("line-b").value = b;
  $("line-m-said").textContent = m.toFixed(1);
  $("line-b-said").textContent = b.toFixed(1);
  $("line-loss").textContent = loss(hand).toFixed(1);
  layLine("line-own", hand);
  points.forEach(([x, y], at) => {
    const circle = $(`line-point-${at}`), rest = $(`line-rest-${at}`);
    place(circle, { cx: toX(x), cy: toY(y) });
    place(circle, { "aria-valuenow": y, "aria-valuetext": `x ${x.toFixed(1)}, y ${y.toFixed(1)}` });
    place(rest, { x1: toX(x), x2: toX(x), y1: toY(y), y2: toY(m * x + b) });
  });
  place($("line-place"), { cx: toM(m), cy: toB(b) });
}

/** The program's line and its way over the map, and the numbers of all three. */
function showProgram() {
  const at = path.at(-1), best = closedForm();
  $("line-program").toggleAttribute("hidden", !at);
  $("line-arrived").toggleAttribute("hidden", !at);
  if (at) {
    layLine("line-program", at);
    place($("line-arrived"), { cx: toM(at.m), cy: toB(at.b) });
  }
  const far = (value) => clamp(value, [-2000, 2000]);
  const way = path.map(({ m, b }) => `${far(toM(m)).toFixed(1)},${far(toB(b)).toFixed(1)}`);
  $("line-way").setAttribute("points", way.join(" "));
  $("line-best").toggleAttribute("hidden", !best);
  if (best) place($("line-best"), { d: `M${toM(best.m) - 5},${toB(best.b)}h10m-5,-5v10` });
  $("line-table").replaceChildren(
    numbers("you", hand), numbers(path.length ? count(path.length - 1) : "program", at), numbers("closed form", best));
  $("line-told").textContent = told(at, best);
}

const count = (steps) => `${steps.toLocaleString("en")} step${steps === 1 ? "" : "s"}`;

function numbers(name, line) {
  const cells = line ? [line.m, line.b, loss(line)] : [];
  return make("tr", {}, make("th", { scope: "row", textContent: name }),
    ...[0, 1, 2].map((at) => make("td", { textContent: line ? figure(cells[at]) : "–" })));
}

const figure = (value) => (Math.abs(value) < 1e5 ? value.toFixed(3) : value.toExponential(1));

function told(at, best) {
  if (!best) return "All points share one x: no line is best. Drag one aside.";
  const most = limit();
  if ($("line-rate").valueAsNumber >= most) {
    return `From ${most.toFixed(4)} on, every step overshoots and the loss grows: a learning rate can be too large.`;
  }
  if (at && ended()) return "Arrived: the closed form, a formula for the best line, says the same at once. Networks have no such formula.";
  return "The closed form is a formula for the best line. Networks have none, so they go step by step.";
}

function layLine(id, { m, b }) {
  const [from, to] = AREA.x;
  place($(id), { x1: toX(from), y1: toY(m * from + b), x2: toX(to), y2: toY(m * to + b) });
}

function place(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

/** Paints the loss over m and b, the darker the less, in steps as a map has heights. */
function showMap() {
  const [width, height] = [160, 120];
  const best = closedForm();
  const floor = best ? loss(best) : 0;
  const top = Math.log1p(20_000 - Math.min(floor, 10_000));
  fill($("line-map"), width, height, (at) => {
    const m = back.m(scale(0, width - 1, FRAME.left, FRAME.right)(at % width));
    const b = back.b(scale(0, height - 1, FRAME.top, FRAME.bottom)(Math.floor(at / width)));
    const depth = 1 - Math.log1p(loss({ m, b }) - floor) / top;
    return [47, 95, 208, 255 * clamp(Math.ceil(depth * 16) / 16, [0.03, 1]) ** 1.4];
  });
}

/** Draws what does not change: axes, and the elements that the rest moves. */
function build() {
  $("line-plot").append(...axes(AREA.x, AREA.y, toX, toY), svg("clipPath", { id: "line-clip" }, frame()));
  const inner = svg("g", { "clip-path": "url(#line-clip)" },
    ...points.map((_, at) => svg("line", { id: `line-rest-${at}`, class: "rest" })),
    svg("line", { id: "line-program", class: "program" }), svg("line", { id: "line-own", class: "own" }));
  const dots = points.map((_, at) => svg("circle", {
    id: `line-point-${at}`, class: "point", r: 7, tabindex: 0, role: "slider",
    "aria-label": `Point ${at + 1}`, "aria-valuemin": 0, "aria-valuemax": 70,
  }));
  $("line-plot").append(inner, ...dots);
  dots.forEach((dot, at) => {
    drag($("line-plot"), dot, (x, y) => move(at, back.x(x), back.y(y)));
    dot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(at, points[at][0] + step[0], points[at][1] + step[1]);
    });
  });

  $("line-places").append(...axes(AREA.m, AREA.b, toM, toB, "m", "b"),
    svg("clipPath", { id: "line-edge" }, frame()),
    svg("g", { "clip-path": "url(#line-edge)" },
      svg("polyline", { id: "line-way", class: "way" }),
      svg("path", { id: "line-best", class: "best" }),
      svg("circle", { id: "line-arrived", class: "arrived", r: 5 })),
    svg("circle", { id: "line-place", class: "place", r: 7 }));
  drag($("line-places"), $("line-places"), (x, y) => moveHand(back.m(x), back.b(y)));
}

const frame = () => {
  const { left, right, top, bottom } = FRAME;
  return svg("rect", { x: left, y: top, width: right - left, height: bottom - top });
};

function axes(xRange, yRange, toX, toY, xName = "x", yName = "y") {
  const inside = ([least, most]) => ticks(least, most, 5).filter((value) => value >= least && value <= most);
  return [
    ...inside(yRange).flatMap((value) => [
      svg("line", { class: "grid", x1: FRAME.left, x2: FRAME.right, y1: toY(value), y2: toY(value) }),
      svg("text", { class: "y", x: FRAME.left - 6, y: toY(value) + 4 }, String(value))]),
    ...inside(xRange).map((value) => svg("text", { class: "x", x: toX(value), y: FRAME.bottom + 16 }, String(value))),
    svg("text", { class: "y name", x: FRAME.right - 6, y: FRAME.bottom - 8 }, xName),
    svg("text", { class: "name", x: FRAME.left + 8, y: FRAME.top + 16 }, yName)];
}

/** Follows a pointer from `handle` on, in the units of a picture. */
function drag(picture, handle, follow) {
  const tell = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    follow(at.x, at.y);
  };
  handle.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    handle.focus?.();
    if (picture === handle) tell(event);
  });
  handle.addEventListener("pointermove", (event) => handle.hasPointerCapture(event.pointerId) && tell(event));
}

function move(at, x, y) {
  points[at] = [clamp(x, [0, 9]), clamp(y, [0, 70])];
  pause();
  path = [];
  showAll();
}

function moveHand(m, b) {
  hand = { m: Math.round(clamp(m, AREA.m) * 10) / 10, b: Math.round(clamp(b, AREA.b) * 2) / 2 };
  pause();
  path = [];
  showHand();
  showProgram();
}

export function start() {
  build();
  $("line-rate").value = RATE;
  const sayRate = () => ($("line-rate-said").textContent = $("line-rate").valueAsNumber.toFixed(4));
  sayRate();
  $("line-rate").addEventListener("input", () => {
    sayRate();
    showProgram();
  });
  $("line-m").addEventListener("input", (event) => moveHand(event.target.valueAsNumber, hand.b));
  $("line-b").addEventListener("input", (event) => moveHand(hand.m, event.target.valueAsNumber));
  $("line-again").addEventListener("click", () => {
    points = POINTS.map((point) => [...point]);
    hand = { ...START };
    reset();
    showAll();
  });
  $("line-play").addEventListener("click", play);
  $("line-step").addEventListener("click", () => {
    pause();
    descend(1);
  });
  $("line-reset").addEventListener("click", reset);
  showAll();
}
