/** Ten bars: how probable each digit is, and one more for what is left: that it is none. */

import { make, percent } from "./dom.js";

export class Bars {
  #rows;

  constructor(list) {
    this.#rows = [..."0123456789", "none"].map((name) => {
      const fill = make("i");
      const share = make("span", { className: "share" });
      const bar = make("span", { className: "bar" }, fill);
      const row = make("li", {}, make("span", { className: "name", textContent: name }), bar, share);
      return { row, fill, share };
    });
    this.#rows.at(-1).row.append(make("small", { textContent: "none: it is no digit" }));
    list.replaceChildren(...this.#rows.map(({ row }) => row));
    this.show(null);
  }

  /** Shows ten probabilities, or nothing for null. */
  show(probabilities) {
    const all = probabilities && [...probabilities, Math.max(0, 1 - sum(probabilities))];
    const best = all ? all.indexOf(Math.max(...all)) : -1;
    this.#rows.forEach(({ row, fill, share }, at) => {
      row.classList.toggle("best", at === best);
      fill.style.transform = `scaleX(${all ? all[at] : 0})`;
      share.textContent = all ? percent(all[at]) : "";
    });
  }
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
