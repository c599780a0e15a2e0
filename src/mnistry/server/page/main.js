/** The page: its tabs, of which the address names one. */

import * as data from "./data.js";
import * as draw from "./draw.js";
import { $ } from "./dom.js";
import * as inside from "./inside.js";
import * as line from "./line.js";
import * as models from "./models.js";
import * as picture from "./picture.js";
import * as train from "./train.js";

const TABS = { draw, picture, inside, data, train, line };
const NAMES = Object.keys(TABS);

/** Shows the tab that the address names. */
function route() {
  const asked = location.hash.slice(1);
  const name = NAMES.includes(asked) ? asked : NAMES[0];
  for (const each of NAMES) {
    const tab = $(`tab-${each}`);
    tab.ariaSelected = String(each === name);
    tab.tabIndex = each === name ? 0 : -1;
    $(`panel-${each}`).hidden = each !== name;
  }
  document.title = `${$(`tab-${name}`).textContent} · Mnistry`;
  TABS[name].open?.();
}

function turn(event) {
  const at = NAMES.findIndex((name) => `tab-${name}` === event.target.id);
  const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: NAMES.length - 1 }[event.key];
  if (next === undefined || at < 0) return;
  event.preventDefault();
  const name = NAMES.at(next % NAMES.length);
  location.hash = name;
  $(`tab-${name}`).focus();
}

// A server with a token may print an address that ends in #token=...: it stays in this browser tab.
const [, token] = location.hash.match(/^#token=(.+)/) ?? [];
if (token) {
  try {
    sessionStorage.setItem("token", decodeURIComponent(token));
  } catch (error) {
    if (!(error instanceof URIError)) throw error; // it is asked for then
  }
  history.replaceState(null, "", location.pathname);
}

for (const name of NAMES) $(`tab-${name}`).addEventListener("click", () => (location.hash = name));
document.querySelector("[role=tablist]").addEventListener("keydown", turn);
addEventListener("hashchange", route);
try {
  await models.open();
} finally { // the tabs work all the same: the server has a network of its own choice
  for (const tab of Object.values(TABS)) tab.start();
  route();
}
