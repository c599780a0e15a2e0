/** The page /docs: what the HTTP API has, from its own description. */

import { ask, attempt } from "./api.js";
import { $, make } from "./dom.js";

const JSON_TYPE = "application/json";
const BODIES = { "image/*": "--data-binary @digits.png -H 'Content-Type: image/png'", [JSON_TYPE]: "--json @body.json" };
const DEEPEST = 4; // that objects are shown within each other

/** One route: what it does, what it takes and gives, and how to call it. */
function route(path, method, { description = "", parameters = [], requestBody, responses = {} }) {
  const kinds = Object.keys(requestBody?.content ?? {});
  const answer = Object.entries(responses).find(([status]) => status.startsWith("2"))?.[1];
  const card = make("section", { className: "card" },
    make("h2", {}, make("b", { textContent: method.toUpperCase() }), make("code", { textContent: path })),
    ...description.split("\n\n").map((text) => make("p", { textContent: text.replaceAll("`", "") })));
  const list = (title, rows) => {
    if (title) card.append(make("p", { className: "note", textContent: title }));
    if (rows.length) card.append(table(rows));
  };
  list("", parameters);
  if (kinds.length) list(`Body: ${kinds.join(", ")}`, fields(requestBody.content[JSON_TYPE]?.schema));
  const gives = fields(answer?.content?.[JSON_TYPE]?.schema);
  if (gives.length) list("Answer", gives.map((field) => ({ ...field, required: false }))); // nothing is asked for
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

/** The fields of a JSON schema, and of what lies in them: "digits", "digits[].label". */
function fields(schema, path = "", deep = 0) {
  const { items, properties = {}, required = [] } = resolved(schema);
  if (deep > DEEPEST) return [];
  if (items) return fields(items, `${path}[]`, deep + 1);
  return Object.entries(properties).flatMap(([key, value]) => {
    const name = path ? `${path}.${key}` : key;
    const field = { name, required: required.includes(key), schema: value, description: resolved(value).description };
    return [field, ...fields(value, name, deep + 1)];
  });
}

/** A schema with what it refers to, and what it may be besides null. */
function resolved(schema) {
  const { $ref: place, anyOf, ...own } = schema ?? {};
  const found = place ? place.split("/").slice(1).reduce((part, name) => part?.[name], described)
    : anyOf?.find(({ type }) => type !== "null");
  return found ? { ...resolved(found), ...own } : own;
}

/** What a value may be: "train or test", "integer, 0 to 9", "list of 28: number". */
function kind(schema) {
  const { enum: values, items, type, minItems, maxItems, minimum, maximum, default: usual } = resolved(schema);
  if (values) return values.join(" or ");
  if (items) return `list${within(minItems, maxItems, " of ")}: ${kind(items)}`;
  const ifLeft = usual === undefined || usual === null ? "" : `; ${usual} if left out`;
  return `${[type ?? "anything"].flat().join(" or ")}${within(minimum, maximum, ", ")}${ifLeft}`;
}

/** A range, if there is one, behind a comma or the like. */
function within(least, most, before) {
  const [from, to] = [least, most].map((number) => number?.toLocaleString("en"));
  if (from && to) return `${before}${from === to ? to : `${from} to ${to}`}`;
  if (from) return `${before}${from} or more`;
  return to ? `${before}at most ${to}` : "";
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
