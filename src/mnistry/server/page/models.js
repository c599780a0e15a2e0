/** The networks that can read, and the one that does: the same on all tabs. */

import { ask, attempt, server } from "./api.js";
import { $, make } from "./dom.js";

/** Tells "change" when another network is to read. */
export const models = new EventTarget();

let list = [];

/** What the server says of the network that reads; null before it is known. */
export const current = () => list.find((model) => model.name === $("model").value) ?? null;

/** What a question adds to its address, to name the network. */
export const named = () => (current() ? `model=${encodeURIComponent(current().name)}` : "");

/** Gets the list, and keeps or selects a network. */
export async function load(name = $("model").value) {
  ({ models: list } = await ask("v1/models"));
  const options = list.map((model) => make("option", { value: model.name, textContent: title(model) }));
  const before = $("model").value;
  $("model").replaceChildren(...options);
  $("model").value = list.some((model) => model.name === name) ? name : list[0].name;
  if ($("model").value !== before) models.dispatchEvent(new Event("change"));
}

/** The same, and says if it fails. */
export const open = () => attempt($("model-error"), () => load());

const title = (model) => (model.kind === "trained" ? model.name : `${model.name} (${model.note})`);

$("model").addEventListener("change", () => models.dispatchEvent(new Event("change")));
server.addEventListener("back", open);
