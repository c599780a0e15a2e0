/** The tab Train: a training is started, watched, compared with another, and drawn with. */

import { ask, attempt, server } from "./api.js";
import { Chart } from "./chart.js";
import { $, make, percent } from "./dom.js";
import { load as loadModels } from "./models.js";

const PAUSE = 500; // milliseconds between two looks at a training that runs

const loss = new Chart($("train-loss"), "Loss");
const share = (value, places) => `${(100 * value).toFixed(Math.max(0, places - 2))}%`;
const accuracy = new Chart($("train-accuracy"), "Accuracy", { format: share, top: 1 });
let presets = [];
let trainings = []; // the newest first
let chosen = []; // the names of one or two, whose curves are shown
let possible = false;
let timer = 0;

async function load() {
  const found = await attempt($("train-error"), () => ask("v1/trainings"));
  if (!found) return;
  const { available, why_not: why, allowed } = found;
  ({ presets, trainings } = found);
  possible = available && allowed;
  $("train-not").hidden = possible;
  $("train-not").textContent = !available
    ? why ?? "Training needs PyTorch: pip install 'mnistry[train]', then start the server again."
    : "Trainings are started on the computer that Mnistry runs on: open this page there, or start the " +
      "server with --allow-training.";
  if (!$("train-presets").querySelector("input")) showPresets();
  if (!chosen.length && trainings.length) chosen = [trainings[0].name];
  show();
  watch();
}

function showPresets() {
  const cards = presets.map(({ name, summary }, at) => {
    const input = make("input", { type: "radio", name: "preset", value: name, checked: at === 0 });
    return make("label", {}, input, make("span", {}, make("b", { textContent: name }), make("small", { textContent: summary })));
  });
  $("train-presets").append(...cards);
  fillIn();
}

const preset = () => presets.find(({ name }) => name === new FormData($("train-form")).get("preset"));

/** Writes a preset's own numbers in the fields. */
function fillIn() {
  const { epochs, learning_rate: rate, units } = preset() ?? {};
  $("train-epochs").value = epochs ?? "";
  $("train-rate").value = rate ?? "";
  $("train-units").value = units?.[0] ?? "";
  $("train-units").disabled = !units;
}

/** A field's number, or null where it is what the preset has, or empty. */
const changed = (field, usual) => (field.value === "" || field.valueAsNumber === usual ? null : field.valueAsNumber);

async function begin() {
  const own = preset();
  if (!own) return;
  const json = {
    preset: own.name,
    epochs: changed($("train-epochs"), own.epochs),
    learning_rate: changed($("train-rate"), own.learning_rate),
    units: own.units ? changed($("train-units"), own.units[0]) : null,
  };
  $("train-start").disabled = true;
  const started = await attempt($("train-error"), () => ask("v1/trainings", { json }), worded);
  if (started) {
    chosen = [started.name];
    update(started);
  }
  show();
  watch();
}

/** What is wrong with a field, with the name that it has on the page. */
function worded({ message }) {
  const label = (name) => $("train-form").elements[name]?.labels?.[0].textContent.trim();
  return message.replace(/^\w+/, (name) => label(name) ?? name);
}

const running = () => trainings.find(({ state }) => state === "running");

function update(training) {
  const at = trainings.findIndex(({ name }) => name === training.name);
  if (at < 0) trainings.unshift(training);
  else trainings[at] = training;
}

/** Looks at the training that runs, until it ends. */
function watch() {
  clearTimeout(timer);
  const training = running();
  if (!training) return;
  timer = setTimeout(async () => {
    const found = await attempt($("train-error"), () => ask(`v1/trainings/${training.name}`));
    if (!found) { // the server is gone, or busy
      timer = setTimeout(watch, 4 * PAUSE);
      return;
    }
    update(found);
    show();
    if (found.model) await attempt($("train-error"), () => loadModels());
    watch();
  }, PAUSE);
}

async function stop() {
  $("train-stop").disabled = true;
  if (!running()) return;
  const found = await attempt($("train-error"), () => ask(`v1/trainings/${running().name}`, { method: "DELETE" }));
  if (found) update(found);
  show();
}

function show() {
  const now = running();
  $("train-start").disabled = !possible || Boolean(now);
  $("train-stop").disabled = !now;
  const told = now ?? trainings.find(({ name }) => name === chosen[0]);
  $("train-said").textContent = told ? said(told) : "Nothing is being trained.";
  $("train-progress").value = told?.progress ?? 0;
  $("train-draw").hidden = !told?.model;
  const lines = chosen.flatMap((name) => trainings.filter((training) => training.name === name));
  loss.show(lines.map((training) => curve(training, "loss")));
  accuracy.show(lines.map((training) => curve(training, "accuracy")));
  list();
}

function curve({ name, points, scores }, what) {
  const rings = scores.filter((score) => score[`val_${what}`] != null);
  return {
    name,
    points: points.map((point) => [point.epoch, point[what]]),
    rings: rings.map((score) => [score.epoch, score[`val_${what}`]]),
  };
}

function said({ name, state, message, epoch, epochs, seconds, test_accuracy: tested }) {
  const time = `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (state === "running") return message ? `${name} ${message} …` : `${name}: epoch ${epoch} of ${epochs}, ${time}`;
  if (state === "failed") return `${name} failed: ${message ?? "the server's log says why"}`;
  if (state === "stopped") return `${name} was stopped after ${time}${(message ?? "").replace(/^stopped/, "")}`;
  const right = tested === null ? "" : `, ${percent(tested)} of the test digits right`;
  return `${name} is done after ${time}${right}${message ? `; ${message}` : ""}`;
}

/** Lists the trainings; rows are made once, so that the keyboard keeps its place. */
function list() {
  const rows = $("train-list").children;
  if (rows.length !== trainings.length || [...rows].some((row, at) => row.dataset.name !== trainings[at].name)) {
    $("train-list").replaceChildren(...trainings.map(row));
  }
  trainings.forEach((training, at) => {
    const [box, draw] = rows[at].querySelectorAll("input, button");
    box.checked = chosen.includes(training.name);
    rows[at].dataset.curve = chosen.indexOf(training.name);
    rows[at].querySelector("small").textContent = said(training).slice(training.name.length).replace(/^[:\s]+/, "");
    draw.hidden = !training.model;
  });
  $("train-list").dataset.empty = String(!trainings.length);
}

function row({ name }) {
  const box = make("input", { type: "checkbox", onchange: () => choose(name) });
  const text = make("span", {}, make("b", { textContent: name }), make("small"));
  const draw = make("button", { textContent: "Draw with it", ariaLabel: `Draw with ${name}`, onclick: () => drawWith(name) });
  const item = make("li", {}, make("label", { className: "check" }, box, text), draw);
  item.dataset.name = name;
  return item;
}

/** Shows a training's curves, or no longer; of more than two, the first chosen goes. */
function choose(name) {
  chosen = chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name].slice(-2);
  show();
}

async function drawWith(name = chosen[0]) {
  const { model } = trainings.find((training) => training.name === name);
  await attempt($("train-error"), () => loadModels(model));
  location.hash = "draw";
}

export function start() {
  $("train-form").addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  $("train-form").addEventListener("input", () => ($("train-error").textContent = ""));
  $("train-presets").addEventListener("change", fillIn);
  $("train-stop").addEventListener("click", stop);
  $("train-draw").addEventListener("click", () => drawWith());
  server.addEventListener("back", () => !$("panel-train").hidden && load());
}

/** Gets what there is when the tab is opened. */
export const open = load;
