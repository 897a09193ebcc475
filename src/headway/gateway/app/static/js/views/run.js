/** One run of a pipeline: its steps on one axis, those that its end hung on marked. */

import { h } from "../core/dom.js";
import { dollars, moment, seconds } from "../core/format.js";
import { link } from "../core/place.js";
import { waterfall } from "../charts/waterfall.js";
import { card } from "../parts/card.js";
import { Loaded } from "./loaded.js";
import { outcomeBadge } from "./pipelines.js";

/** @typedef {import("../core/types.js").RunDetail} RunDetail */
/** @typedef {import("../core/api.js").ApiError} ApiError */

export class RunView {
  title = "Run";
  unfiltered = true;

  /** @param {string} id @param {(error: ApiError) => boolean} refused */
  constructor(id, refused) {
    this._place = h("div", { class: "stack" });
    this._loaded = new Loaded(
      () => `/runs/${encodeURIComponent(id)}`,
      (found) => this._show(found),
      refused,
    );
    this.element = h("div", { class: "stack" }, this._loaded.element, this._place);
  }

  open() {
    this._loaded.ask();
  }

  close() {
    this._loaded.end();
  }

  /** @param {RunDetail} detail */
  _show({ run, spans, critical }) {
    // A finished run does not change any more, and whoever stands in its rows by keyboard should stay there.
    if (run.total_s !== null) this._loaded.end();
    const path = critical.length ? `Its end hung on ${critical.join(" → ")}.` : "";
    this._place.replaceChildren(
      h("p", {}, h("a", { href: link("pipelines", run.pipeline) }, `← ${run.pipeline}`)),
      card(
        `A run of ${run.pipeline}`,
        {},
        h(
          "p",
          { class: "line" },
          outcomeBadge(run.outcome),
          h(
            "span",
            { class: "faint" },
            `${moment(run.start_wall_s)} · took ${seconds(run.total_s)} · ${dollars(run.dollars)}`,
          ),
        ),
        h("p", {}, path),
        waterfall(spans, { critical, total_s: run.total_s }),
      ),
    );
  }
}
