/** The tab Data: the images of a set, with what they are and what the network reads. */

import { ask, attempt, server, waiting } from "./api.js";
import { Bars } from "./bars.js";
import { $, make, percent } from "./dom.js";
import { lookAt } from "./inside.js";
import { models, named } from "./models.js";
import { bytes, paint } from "./pixels.js";

const LIMIT = 40; // images at a time

const bars = new Bars($("data-bars"));
let sets = [];
let offset = 0;
let total = 0;
let images = [];
let shown = 0; // which of them is shown large
let turn = 0;

async function loadSets() {
  const found = await attempt($("data-error"), () => ask("v1/sets"));
  if (!found) return;
  ({ sets } = found);
  $("data-set").replaceChildren(...sets.map(({ name }) => make("option", { textContent: name })));
  chooseSet();
}

function chooseSet() {
  const set = sets.find(({ name }) => name === $("data-set").value);
  if (!set) return;
  const parts = set.parts.map((part) => {
    const textContent = `${part} (${set.counts[part].toLocaleString("en")})`;
    return make("option", { value: part, textContent });
  });
  $("data-part").replaceChildren(...parts);
  $("data-part").value = set.parts.at(-1); // to see mistakes, the part that was not learnt
  const labels = set.classes.map((name, label) => make("option", { value: label, textContent: name }));
  $("data-label").replaceChildren(make("option", { value: "", textContent: "all" }), ...labels);
  load(0);
}

/** Shows the images from one on, or the last ones where there are not so many. */
async function load(from) {
  const mine = ++turn;
  offset = from;
  const [set, part, label] = ["set", "part", "label"].map((name) => $(`data-${name}`).value);
  if (!set) return;
  const order = $("data-order").value;
  const only = label === "" ? "" : `&label=${label}`;
  const path = `v1/sets/${set}/${part}?order=${order}${only}&offset=${from}&limit=${LIMIT}&${named()}`;
  const asked = () => attempt($("data-error"), () => ask(path));
  const found = await waiting($("data-busy"), "Reading all images of this part, once …", asked);
  if (mine !== turn) return;
  if (from && from >= found?.total) {
    load(LIMIT * Math.max(0, Math.ceil(found.total / LIMIT) - 1));
    return;
  }
  ({ total, images } = found ?? { total: 0, images: [] }); // those of before are not what is asked for now
  show(found ? "There are none." : "");
}

/** Shows them, or says that there are none. */
function show(none) {
  if (!images.length) $("data-large").close();
  $("data-grid").replaceChildren(...images.map((image, at) => make("li", {}, tile(image, at))));
  const last = offset + images.length;
  const [from, to, all] = [offset + 1, last, total].map((number) => number.toLocaleString("en"));
  $("data-place").textContent = images.length ? `${from} to ${to} of ${all}` : none;
  $("data-previous").disabled = offset === 0;
  $("data-next").disabled = last >= total;
}

function tile(image, at) {
  const canvas = make("canvas", { className: "paper pixels" });
  paint(canvas, bytes(image.pixels));
  const wrong = image.answer !== image.label;
  const text = wrong ? `${image.label} → ${image.answer ?? "?"}` : `${image.label}`;
  const properties = { className: wrong ? "wrong" : "", ariaLabel: told(image), onclick: () => enlarge(at) };
  return make("button", properties, canvas, make("span", { textContent: text }));
}

function told({ label, answer, confidence }) {
  const read = answer === null ? "not sure" : `read as ${answer}`;
  return `Label ${label}, ${read}, ${percent(confidence)}`;
}

function enlarge(at) {
  shown = at;
  const image = images[at];
  paint($("data-seen"), bytes(image.pixels));
  bars.show(image.probabilities);
  $("data-title").textContent = `Number ${image.index.toLocaleString("en")}: ${told(image).toLowerCase()}`;
  $("data-before").disabled = at === 0;
  $("data-after").disabled = at === images.length - 1;
  if (!$("data-large").open) $("data-large").showModal();
}

export function start() {
  $("data-set").addEventListener("change", chooseSet);
  for (const name of ["part", "label", "order"]) $(`data-${name}`).addEventListener("change", () => load(0));
  $("data-previous").addEventListener("click", () => load(Math.max(0, offset - LIMIT)));
  $("data-next").addEventListener("click", () => load(offset + LIMIT));
  $("data-before").addEventListener("click", () => enlarge(shown - 1));
  $("data-after").addEventListener("click", () => enlarge(shown + 1));
  $("data-close").addEventListener("click", () => $("data-large").close());
  $("data-large").addEventListener("click", (event) => {
    if (event.target === $("data-large")) $("data-large").close(); // beside it
  });
  $("data-large").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && images[shown + step]) enlarge(shown + step);
  });
  $("data-inside").addEventListener("click", () => {
    $("data-large").close();
    location.hash = "inside";
    lookAt(images[shown].pixels);
  });
  const again = () => !$("panel-data").hidden && open();
  models.addEventListener("change", () => {
    offset = 0; // another network makes other mistakes
    again();
  });
  server.addEventListener("back", again);
}

/** Gets the images when the tab is opened: with another network, there are other answers. */
export const open = () => (sets.length ? load(offset) : loadSets());
