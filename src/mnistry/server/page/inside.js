/** The tab Look inside: what the layers of the network make of a digit, and what decided. */

import { ask, attempt, server, waiting } from "./api.js";
import { Bars } from "./bars.js";
import { $, make } from "./dom.js";
import { last } from "./draw.js";
import { models, named } from "./models.js";
import { Pad, pgm } from "./pad.js";
import { bytes, clear, paint, paintEvidence } from "./pixels.js";

const PICTURES = [
  "Each picture is one pattern finder, moved over the whole digit: there is ink where it found its stroke or edge.",
  "These look at the pictures before: they find corners, bows and loops, and care less where they are.",
];
const UNITS = "Each square is one unit, which looks at everything at once: inked where it found its pattern.";

const pad = new Pad($("in-pad"));
const bars = new Bars($("in-bars"));
let seen = null; // 28 rows of 28 numbers
let drawn = null; // the drawing of the tab Draw that was shown here
let turn = 0;

/** Looks at a digit, 28 rows of 28 numbers. */
async function look(image) {
  seen = image;
  const mine = ++turn;
  const asked = () => ask(`v1/inside?${named()}`, { json: { image } });
  const found = await attempt($("in-error"), asked);
  if (mine !== turn) return;
  if (found) show(found);
  else blank(); // what stands there is of another digit
}

function show({ label, probabilities, layers, evidence }) {
  paint($("in-seen"), seen.flat());
  paintEvidence($("in-evidence"), evidence.values.flat(), seen.flat());
  bars.show(probabilities);
  $("in-why").textContent = `Why ${evidence.label ?? "this"}`;
  $("in-said").textContent = label === null ? "It is not sure" : `It says ${label}`;
  $("in-layers").replaceChildren(...layers.map(layer));
}

function layer({ name, shape: [number, height, width], maps }, at) {
  const pictures = maps.map((map) => {
    const canvas = make("canvas", { className: "paper pixels" });
    paint(canvas, bytes(map), width, height);
    return canvas;
  });
  const units = height * width === 1;
  const title = units ? `${name}: ${number} units` : `${name}: ${number} pictures of ${height} × ${width}`;
  const properties = { className: units ? "maps units" : "maps", role: "img", ariaLabel: title };
  return make("figure", { className: "card" },
    make("h2", { textContent: title }),
    make("figcaption", { textContent: units ? UNITS : PICTURES[at] }),
    make("div", properties, ...pictures));
}

/** Reads what is drawn here, and looks at its first digit. */
async function read() {
  if (!pad.strokes.length) {
    forget();
    return;
  }
  const mine = ++turn;
  const body = pgm(pad.picture().canvas);
  const asked = () => ask(`v1/read?seen=true&single=true&${named()}`, { body });
  const answer = await attempt($("in-error"), asked);
  if (mine !== turn) return;
  if (answer?.digits.length) await look(answer.digits[0].seen);
  else forget();
}

function forget() {
  turn += 1;
  seen = null;
  blank();
}

function blank() {
  clear($("in-seen"));
  clear($("in-evidence"));
  bars.show(null);
  $("in-why").textContent = "Why";
  $("in-said").textContent = "What it says";
  $("in-layers").replaceChildren();
}

/** Any image of the first set's test part. */
async function anyOne() {
  const { sets: [set] } = await ask("v1/sets");
  const part = set.parts.at(-1);
  const offset = Math.floor(Math.random() * set.counts[part]);
  const { images: [image] } = await ask(`v1/sets/${set.name}/${part}?offset=${offset}&limit=1&${named()}`);
  return image;
}

/** Takes one, and looks at it. */
async function pick() {
  const mine = ++turn;
  $("in-pick").disabled = true;
  try {
    const image = await waiting($("in-busy"), "Getting one …", () => attempt($("in-error"), anyOne));
    if (image && mine === turn) await lookAt(image.pixels);
  } finally {
    $("in-pick").disabled = false;
  }
}

/** Looks at a digit of a set, given as base64. */
export function lookAt(pixels) {
  const all = [...bytes(pixels)];
  drawn = last.seen; // or it would take the place of this one
  pad.clear();
  return look(Array.from({ length: 28 }, (_, row) => all.slice(28 * row, 28 * row + 28)));
}

export function start() {
  pad.addEventListener("change", read);
  $("in-clear").addEventListener("click", (event) => (pad.strokes.length ? pad.clear(event) : forget()));
  $("in-pick").addEventListener("click", pick);
  const again = () => (pad.strokes.length ? read() : seen && look(seen));
  models.addEventListener("change", again);
  server.addEventListener("back", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again); // in its colours
}

/** Looks at what was last drawn, when the tab is opened and that is new. */
export function open() {
  if (!last.seen || last.seen === drawn) return;
  drawn = last.seen;
  pad.clear();
  look(drawn);
}
