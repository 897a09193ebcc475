/** A line without words below a figure: which way it goes. */

import { s, set } from "../core/dom.js";
import { linePath } from "./marks.js";

const WIDTH = 72;
const HEIGHT = 20;

export class Spark {
  constructor() {
    this._path = s("path", { class: "line" });
    this.element = s("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this._path);
  }

  /** @param {(number | null)[]} values The last 40 count. */
  update(values) {
    const last = values.slice(-40);
    const top = Math.max(1e-9, ...last.map((value) => value ?? 0));
    const step = WIDTH / Math.max(1, last.length - 1);
    set(
      this._path,
      "d",
      linePath(
        last,
        (index) => index * step,
        (value) => 1 + (HEIGHT - 2) * (1 - value / top),
      ),
    );
  }
}
