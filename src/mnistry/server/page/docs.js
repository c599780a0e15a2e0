/** The page /docs: what the HTTP API has, from its own description. */

import { ask, attempt } from "./api.js";
import { $, make } from "./dom.js";

const BODIES = { "image/*": "--data-binary @digits.png -H 'Content-Type: image/png'", "application/json": "--json @body.json" };

/** One route: what it does, what it takes, and how to call it. */
function route(path, method, { description, parameters = [], requestBody }) {
  const [first, ...more] = description.split("\n\n");
  const kinds = Object.keys(requestBody?.content ?? {});
  const card = make("section", { className: "card" },
    make("h2", {}, make("b", { textContent: method.toUpperCase() }), make("code", { textContent: path })),
    ...[first, ...more].map((text) => make("p", { textContent: text.replaceAll("`", "") })));
  if (parameters.length) card.append(table(parameters));
  if (kinds.length) card.append(make("p", { className: "note", textContent: `Body: ${kinds.join(", ")}` }));
  card.append(make("p", { className: "command" }, make("code", { textContent: call(path, method, parameters, kinds) })));
  return card;
}

function table(parameters) {
  const rows = parameters.map(({ name, required, schema, description }) =>
    make("tr", {},
      make("th", { scope: "row" }, make("code", { textContent: name })),
      make("td", { textContent: [kind(schema), required ? "needed" : "", description].filter(Boolean).join(" · ") })));
  return make("table", {}, make("tbody", {}, ...rows));
}

/** What a value may be: "train or test", "integer, 0 to 9". */
function kind({ enum: values, anyOf, type, minimum, maximum, default: usual }) {
  if (anyOf) return kind(anyOf.find((each) => each.type !== "null"));
  if (values) return values.join(" or ");
  const range = maximum === undefined ? "" : `, ${minimum} to ${maximum.toLocaleString("en")}`;
  return `${type}${range}${usual === undefined ? "" : `; ${usual} if left out`}`;
}

function call(path, method, parameters, kinds) {
  const needed = parameters.filter((each) => each.required && each.in === "query");
  const query = needed.length ? `?${needed.map(({ name }) => `${name}=…`).join("&")}` : "";
  const how = kinds.length ? ` ${BODIES[kinds.find((each) => each in BODIES)] ?? ""}` : "";
  const verb = method === "delete" ? " -X DELETE" : "";
  return `curl${verb}${how} '${location.origin}${path}${query}'`;
}

const described = await attempt($("docs-error"), () => ask("openapi.json"));
for (const [path, methods] of Object.entries(described?.paths ?? {})) {
  for (const [method, about] of Object.entries(methods)) $("docs").append(route(path, method, about));
}
