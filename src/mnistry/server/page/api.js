/** The server: questions to it, what it says when they fail, and whether it is there at all. */

import { $, make } from "./dom.js";

const RETRY = 2000; // milliseconds
const MOST = 5; // seconds that a busy server is waited for: what says more has itself waited long

/** Tells "back" when the server answers again after it did not. */
export const server = new EventTarget();

/** Why a question got no answer: the HTTP status, 0 where nobody was there, and a line for people. */
class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * Asks the server; `json`, or a file or blob as `body`, is what is sent. Gives its JSON, or throws a
 * Problem. A server that is busy is asked `again`, once, when it says so.
 */
export async function ask(path, { method, json, body, signal, again = true } = {}) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = body.type || "application/octet-stream";
  if (json) headers["content-type"] = "application/json";
  const sent = json ? JSON.stringify(json) : body;
  let response;
  try {
    response = await fetch(path, { method: method ?? (sent ? "POST" : "GET"), headers, body: sent, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lose();
    throw new Problem(0, "Mnistry does not answer");
  }
  if (response.status === 401) {
    if (token === sessionStorage.getItem("token")) await askToken(token !== null); // else it was given meanwhile
    return ask(path, { method, json, body, signal, again });
  }
  const seconds = Number(response.headers.get("retry-after"));
  if (response.status === 503 && again && seconds > 0 && seconds <= MOST) {
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return ask(path, { method, json, body, signal, again: false });
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail ?? `The server answered with ${response.status}`);
}

/** Does some work; if it fails, `place` says why in one line, maybe in other words, until some succeeds. */
export async function attempt(place, work, words = (problem) => problem.message) {
  try {
    const result = await work();
    place.textContent = "";
    return result;
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (!(error instanceof Problem)) throw error;
    if (error.status) place.textContent = sentence(words(error)); // else the banner says it
    return undefined;
  }
}

/** Shows `place` that something takes a while, if it does. */
export async function waiting(place, words, work) {
  const timer = setTimeout(() => (place.textContent = words), 250);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
    place.textContent = "";
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

let lost = false;

/** Says that nobody answers, and asks until somebody does. */
function lose() {
  if (lost) return;
  lost = true;
  $("lost").textContent = "Mnistry does not answer. Is “mnistry serve” still running? Trying again …";
  $("lost").hidden = false;
  setTimeout(retry, RETRY);
}

async function retry() {
  const there = await fetch("healthz").then((response) => response.ok, () => false);
  if (!there) {
    setTimeout(retry, RETRY);
    return;
  }
  lost = false;
  $("lost").hidden = true;
  server.dispatchEvent(new Event("back"));
}

let asked = null;

/** Asks the user for the server's token, once for all questions that wait for it. */
function askToken(wasWrong) {
  asked ??= new Promise((resolve) => {
    const token = make("input", { type: "password", required: true, autocomplete: "off" });
    const form = make("form", {},
      make("h2", { textContent: "This server asks for a token" }),
      make("p", { textContent: "It was given when the server was started. This tab keeps it until it is closed." }),
      make("p", { className: "error", role: "alert", textContent: wasWrong ? "That token was wrong." : "" }),
      make("label", {}, "Token ", token),
      make("div", { className: "tools" }, make("button", { className: "primary", textContent: "Go on" })));
    const dialog = make("dialog", { ariaLabel: "Token" }, form);
    dialog.addEventListener("close", () => dialog.showModal()); // as by Escape: nothing goes on without it
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", token.value.trim());
      dialog.remove();
      asked = null;
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asked;
}
