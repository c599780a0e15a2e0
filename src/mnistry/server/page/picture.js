/** The tab Picture: a scan, photo or PDF is read, its answers drawn over it, and given as text. */

import { ask, attempt, server, waiting } from "./api.js";
import { $, copies, count, make, percent, svg } from "./dom.js";
import { current, models, named } from "./models.js";

const COLUMNS = ["image", "page", "line", "position", "label", "confidence", "x", "y", "width", "height"];

let file = null;
let digits = []; // as the server read them
let least = null; // the confidence asked for; null for the network's own
let turn = 0;

/** Reads the file, and shows it. */
async function read() {
  if (!file) return;
  const mine = ++turn;
  const path = `v1/read?single=${$("pic-single").checked}&${named()}`;
  const { name } = file;
  const worded = ({ status, message }) => (status === 415
    ? `“${name}” is no picture that can be read; choose an image (PNG, JPEG, …) or a PDF`
    : message);
  const asked = () => attempt($("pic-error"), () => ask(path, { body: file }), worded);
  const answer = await waiting($("pic-busy"), "Reading …", asked);
  if (mine !== turn) return;
  $("pic-result").hidden = !answer;
  if (!answer) return;
  digits = answer.digits;
  show();
}

function take(chosen) {
  if (!chosen) return;
  file = chosen;
  URL.revokeObjectURL($("pic-image").src);
  $("pic-image").src = URL.createObjectURL(file);
  $("pic-name").textContent = file.name;
  read();
}

/** The answer to a digit with the confidence that is asked for; null where it is not sure enough. */
function label({ confidence, probabilities }) {
  const none = 1 - probabilities.reduce((total, each) => total + each, 0);
  return confidence >= Math.max(least ?? usual(), none) ? probabilities.indexOf(Math.max(...probabilities)) : null;
}

const usual = () => current()?.min_confidence ?? 0;

/** The digits line by line. */
const lines = () => Object.values(Object.groupBy(digits, (digit) => digit.line));

function show() {
  const labels = digits.map(label);
  const unsure = labels.filter((each) => each === null).length;
  $("pic-text").value = lines().map((line) => line.map((digit) => label(digit) ?? "?").join("")).join("\n");
  $("pic-said").textContent = digits.length
    ? `${count(digits.length, "digit")}${unsure ? `, ${unsure} not sure enough` : ""}.`
    : "I see no digits here.";
  $("pic-least").value = least ?? usual();
  $("pic-least-said").textContent = percent(least ?? usual());
  outline();
}

/** Draws the answers over the first page; a browser does not show the others. */
function outline() {
  const { naturalWidth: width, naturalHeight: height } = $("pic-image");
  if (!width) return;
  $("pic-boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  const frames = digits.filter((digit) => digit.page === 0).map((digit) => {
    const [x, y, w, h] = digit.box;
    const answer = label(digit);
    const { size, ...place } = spot(digit.box, width);
    const text = svg("text", place, String(answer ?? "?"));
    text.style.fontSize = `${size}px`; // of the picture's pixels
    return svg("g", { class: answer === null ? "unsure" : "" },
      svg("title", {}, `${answer ?? "not sure"}, ${percent(digit.confidence)}`),
      svg("rect", { x, y, width: w, height: h, rx: Math.min(w, h) / 8 }),
      text);
  });
  $("pic-boxes").replaceChildren(...frames);
}

/** Where an answer stands, and how large: above its box, or in the corner where there is no room. */
function spot([x, y, w, h], width) {
  const size = (share) => Math.max(h * share, width / 45); // which can be read on a large sheet, too
  const large = size(0.4), small = size(0.2);
  if (y > large) return { size: large, x: x + w / 2, y: y - large * 0.2 };
  return { size: small, x: x + small * 0.55, y: y + small };
}

/** A row for each digit, as `mnistry predict --csv` has it. */
function csv() {
  const rows = lines().flatMap((line) =>
    line.map((digit, position) => [
      file.name, digit.page, digit.line, position, label(digit) ?? "", digit.confidence.toFixed(4), ...digit.box,
    ]));
  return [COLUMNS, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);

function download() {
  const href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  make("a", { href, download: `${file.name.replace(/\.[^.]*$/, "")}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

export function start() {
  for (const input of [$("pic-file"), $("pic-camera")]) {
    input.addEventListener("change", () => {
      take(input.files[0]);
      input.value = ""; // so that the same file may be chosen again
    });
  }
  $("pic-single").addEventListener("change", read);
  $("pic-least").addEventListener("input", (event) => {
    least = event.target.valueAsNumber;
    show();
  });
  copies($("pic-copy"), () => $("pic-text").value);
  $("pic-csv").addEventListener("click", download);

  $("pic-image").addEventListener("load", () => {
    $("pic-image").parentElement.hidden = false;
    outline();
  });
  $("pic-image").addEventListener("error", () => {
    $("pic-image").parentElement.hidden = true;
    $("pic-name").textContent = `${file.name}: the browser cannot show this here, but all of it was read.`;
  });

  const isOpen = () => !$("panel-picture").hidden;
  const mark = (isOver) => $("pic-drop").classList.toggle("over", isOver);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // or the browser would open the file, and leave this page
    event.dataTransfer.dropEffect = isOpen() ? "copy" : "none";
    mark(isOpen());
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false)); // out of the window
  document.addEventListener("drop", (event) => {
    const [dropped] = event.dataTransfer.files;
    if (!dropped) return;
    event.preventDefault();
    mark(false);
    if (isOpen()) take(dropped);
  });
  document.addEventListener("paste", (event) => isOpen() && take(event.clipboardData.files[0]));
  models.addEventListener("change", () => {
    least = null;
    read();
  });
  server.addEventListener("back", read);
}
