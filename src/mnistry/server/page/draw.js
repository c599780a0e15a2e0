/** The tab Draw: a drawing is read after each stroke, and may be kept with its right answer. */

import { ask, attempt, server } from "./api.js";
import { Bars } from "./bars.js";
import { $, copies, make, percent, svg } from "./dom.js";
import { models, named } from "./models.js";
import { Pad, extent, pgm } from "./pad.js";
import { clear, paint } from "./pixels.js";

/** The digit that was last drawn, for those who look inside: 28 rows of 28 numbers, or null. */
export const last = { seen: null };

const SLOW = 250; // milliseconds after which an old answer is no longer left standing

const pad = new Pad($("draw-pad"));
const bars = new Bars($("draw-bars"));
let digits = []; // as they were read, each with its place on the sheet
let isKnown = true; // whether they are what is on the sheet
let chosen = -1;
let turn = 0; // the latest question's number: its answer is the one that counts
let question = new AbortController();

/** Reads what is on the sheet; `since` is when the user was done with it. */
async function read(since) {
  const mine = ++turn;
  question.abort();
  question = new AbortController();
  if (!pad.strokes.length) {
    show([]);
    return;
  }
  const { signal } = question;
  isKnown = false; // what is selected is of before
  enable();
  const late = setTimeout(() => mine === turn && show(null), SLOW);
  const { canvas, place } = pad.picture();
  const asked = () => ask(`v1/read?seen=true&${named()}`, { body: pgm(canvas), signal });
  const answer = await attempt($("draw-error"), asked);
  clearTimeout(late);
  if (mine !== turn) return;
  show(answer ? answer.digits.map((digit) => ({ ...digit, place: place(digit.box) })) : null);
  if (answer) performance.measure("answer", { start: since, end: performance.now() });
}

/** Shows what was found; null where that is not known. */
function show(found) {
  isKnown = found !== null;
  digits = found ?? [];
  const lines = [...new Set(digits.map((digit) => digit.line))];
  const rows = lines.map((line) =>
    make("div", {}, ...digits.flatMap((digit, at) => (digit.line === line ? [button(digit, at)] : []))));
  $("draw-digits").replaceChildren(...rows);
  $("draw-digits").classList.toggle("many", digits.length > 2);
  select(newest());
}

function button(digit, at) {
  const name = digit.label === null ? "not sure" : String(digit.label);
  const properties = { textContent: digit.label ?? "?", ariaLabel: name, onclick: () => select(at) };
  return make("button", properties);
}

/** The digit that the last stroke is part of. */
function newest() {
  const stroke = pad.strokes.at(-1);
  if (!stroke) return -1;
  const at = digits.findIndex((digit) => isIn(stroke, digit.place));
  return at < 0 ? digits.length - 1 : at;
}

/** Whether the middle of a stroke lies in a rectangle. */
function isIn(stroke, { x, y, width, height }) {
  const { left, top, right, bottom } = extent([stroke]);
  const [across, down] = [(left + right) / 2 - x, (top + bottom) / 2 - y];
  return across >= 0 && across <= width && down >= 0 && down <= height;
}

function select(at) {
  chosen = at;
  const digit = digits[at];
  $("draw-digits").querySelectorAll("button").forEach((each, number) => {
    each.ariaPressed = String(number === at);
    each.disabled = digits.length === 1;
  });
  bars.show(digit?.probabilities ?? null);
  if (digit) paint($("draw-seen"), digit.seen.flat());
  else clear($("draw-seen"));
  last.seen = digit?.seen ?? null;
  $("draw-said").textContent = said(digit);
  enable();
  outline();
}

/** What is said below the digits, and read out. */
function said(digit) {
  if (!pad.strokes.length) return "Nothing is drawn yet.";
  if (!isKnown) return "No answer yet.";
  if (!digit) return "I see no digit in this.";
  const one = digit.label === null
    ? `I am not sure: ${best(digit)} is closest, at ${percent(digit.confidence)}.`
    : `${digit.label}, ${percent(digit.confidence)} sure.`;
  if (digits.length === 1) return one;
  return `I read ${digits.map((each) => each.label ?? "?").join(" ")}. Selected: ${one}`;
}

const best = ({ probabilities }) => probabilities.indexOf(Math.max(...probabilities));

/** Draws a frame around each digit where there are several. */
function outline() {
  const { width, height } = pad.size;
  $("draw-boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const frames = digits.map(({ place }, at) =>
    svg("rect", {
      x: place.x - 6, y: place.y - 6, width: place.width + 12, height: place.height + 12, rx: 8,
      class: at === chosen ? "chosen" : "",
    }));
  $("draw-boxes").replaceChildren(...(digits.length > 1 ? frames : []));
}

/** Keeps the selected digit's strokes with what they were meant to be. */
function keep(label) {
  return attempt($("draw-error"), async () => {
    const digit = digits[chosen];
    const own = digit && digits.length > 1 ? pad.strokes.filter((each) => isIn(each, digit.place)) : [];
    const { canvas } = pad.picture(own.length ? own : pad.strokes);
    enable(false); // or a second tap would keep it twice
    try {
      const kept = await ask(`v1/drawings?label=${label}`, { body: await canvas.convertToBlob() });
      const undo = make("button", { textContent: "Undo", ariaLabel: `Undo that it was kept as ${label}` });
      undo.addEventListener("click", () => takeBack(kept.name, undo));
      sayKept(kept, `, the last one as ${label}`, undo);
    } catch (error) {
      enable();
      throw error;
    }
  });
}

/** Removes what was kept, as with a wrong label. */
async function takeBack(name, undo) {
  undo.disabled = true;
  const kept = await attempt($("draw-error"), () => ask(`v1/drawings/${name}`, { method: "DELETE" }));
  undo.disabled = false;
  if (!kept) return;
  sayKept(kept, "; the last one was taken back");
  enable();
}

/** Whether a drawing may be kept: it is on the sheet, was read, and is not kept yet. */
function enable(may = isKnown && pad.strokes.length > 0) {
  $("draw-labels").querySelectorAll("button").forEach((each) => (each.disabled = !may));
}

function sayKept({ folder, count: number }, last = "", ...undo) {
  const path = /^[\w./:\\~-]+$/.test(folder) ? folder : `"${folder}"`;
  const command = `mnistry correct ${path}`;
  const button = make("button", { textContent: "Copy" });
  const kept = { 0: "No drawings are", 1: "1 drawing is" }[number] ?? `${number.toLocaleString("en")} drawings are`;
  $("draw-kept").replaceChildren(
    make("p", {}, `${kept} in `, make("code", { textContent: folder }), `${last}. `, ...undo));
  if (!number) return;
  $("draw-kept").append(
    make("p", {}, "How well are they read?"),
    make("p", { className: "command" }, make("code", { textContent: command }), copies(button, () => command)));
}

/** Reads anew, as with another network. */
const again = () => pad.strokes.length && read(performance.now());

export function start() {
  for (let label = 0; label < 10; label++) {
    $("draw-labels").append(make("button", { textContent: label, disabled: true, onclick: () => keep(label) }));
  }
  pad.addEventListener("change", (event) => read(event.detail));
  models.addEventListener("change", again);
  server.addEventListener("back", again);
  new ResizeObserver(outline).observe($("draw-pad"));
  $("draw-undo").addEventListener("click", (event) => pad.undo(event));
  $("draw-clear").addEventListener("click", (event) => pad.clear(event));
  $("draw-width").addEventListener("input", (event) => (pad.brush = event.target.valueAsNumber));
  document.addEventListener("keydown", (event) => {
    const undoes = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (!undoes || $("panel-draw").hidden) return;
    event.preventDefault();
    pad.undo(event);
  });
  show([]);
  attempt($("draw-error"), async () => {
    const kept = await ask("v1/drawings");
    if (kept.count) sayKept(kept);
  });
}
