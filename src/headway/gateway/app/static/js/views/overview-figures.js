/** The row of figures on top. */

import { h } from "../core/dom.js";
import { count, dollars, percent, plural, rate, seconds, span } from "../core/format.js";
import { Spark } from "../charts/spark.js";
import { tile } from "../parts/tile.js";

/** @typedef {import("../core/types.js").Overview} Overview */
/** @typedef {import("../core/types.js").Quantiles} Quantiles */

/** @param {Quantiles} quantiles */
const tail = ({ p95_s, p99_s }) => [`p95 ${seconds(p95_s)}`, `p99 ${seconds(p99_s)}`];

export class Figures {
  constructor() {
    this._spark = new Spark();
    this._rate = tile("Requests/s", "Calls that ended in the window, by its length", this._spark.element);
    this._flight = tile("In flight", "Calls that are being answered now, in all workers");
    this._queue = tile("Queued", "Calls that wait for their turn now: for limits, or for room");
    this._ttft = tile("First token, p50", "From the request's arrival to the first token of the answer");
    this._total = tile("Total time, p50", "From the request's arrival to the last byte of the answer");
    this._failed = tile("Failed", "Calls whose client got no whole answer. A client that leaves is no failure");
    this._spent = tile("Spent", "Paid for all tries in the window, by known prices");
    this._saved = tile("Saved", "What kept and shared answers would have cost");
    const all = [
      this._rate,
      this._flight,
      this._queue,
      this._ttft,
      this._total,
      this._failed,
      this._spent,
      this._saved,
    ];
    this.element = h("div", { class: "tiles" }, ...all.map((one) => one.element));
  }

  /** @param {Overview} overview */
  update({ live, totals, series, filters, log }) {
    const none = log === "off";
    const by = live.queued_by_priority;
    const hits = series.hits.reduce((sum, one) => sum + one, 0);
    this._spark.update(series.calls);
    this._rate.update(none ? "–" : rate(totals.requests_per_s), [
      none ? "" : `${plural(totals.calls, "call")} in ${span(filters.window_s)}`,
    ]);
    this._flight.update(count(live.in_flight), [plural(live.workers, "worker")]);
    this._queue.update(
      count(live.queued),
      ["high", "normal", "low"].map((one) => `${one} ${count(by[one] ?? 0)}`),
      live.queued > 0 ? "warn" : "",
    );
    this._ttft.update(seconds(totals.ttft.p50_s), tail(totals.ttft));
    this._total.update(seconds(totals.total.p50_s), tail(totals.total));
    const share = totals.calls ? totals.failed / totals.calls : null;
    this._failed.update(
      none ? "–" : count(totals.failed),
      [percent(share), `429s upstream ${count(totals.throttled)}`],
      totals.failed > 0 ? "bad" : "",
    );
    const unknown = totals.dollars_unknown ? [`price unknown ${count(totals.dollars_unknown)}`] : [];
    this._spent.update(dollars(totals.dollars), [`wasted ${dollars(totals.wasted_dollars)}`, ...unknown]);
    this._saved.update(
      dollars(totals.saved_dollars),
      [`hit rate ${percent(totals.calls ? hits / totals.calls : null)}`],
      totals.saved_dollars > 0 ? "good" : "",
    );
  }
}
