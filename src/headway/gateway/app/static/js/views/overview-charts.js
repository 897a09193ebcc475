/** Four charts on one window. */

import { h } from "../core/dom.js";
import { count, dollars, rate, seconds } from "../core/format.js";
import { TimeChart } from "../charts/time-chart.js";

/** @typedef {import("../core/types.js").Overview} Overview */

const PERCENTILES = [
  { key: "p99", label: "p99", tone: "s-faint" },
  { key: "p95", label: "p95", tone: "s-second" },
  { key: "p50", label: "p50", tone: "s-main" },
];

export class OverviewCharts {
  constructor() {
    this._requests = new TimeChart({
      title: "Requests/s",
      kind: "bars",
      top: 0.1,
      tell: rate,
      lines: [
        { key: "failed", label: "Failed", tone: "s-bad" },
        { key: "asked", label: "Upstream", tone: "s-main" },
        { key: "hits", label: "Kept or shared", tone: "s-good" },
      ],
    });
    this._money = new TimeChart({
      title: "Dollars",
      kind: "bars",
      top: 0.000001,
      tell: dollars,
      lines: [
        { key: "spent", label: "Spent", tone: "s-main" },
        { key: "saved", label: "Saved", tone: "s-good" },
      ],
    });
    this._ttft = new TimeChart({
      title: "Time to first token",
      kind: "lines",
      top: 0.001,
      tell: seconds,
      lines: PERCENTILES,
    });
    this._total = new TimeChart({
      title: "Total time",
      kind: "lines",
      top: 0.001,
      tell: seconds,
      lines: PERCENTILES,
    });
    const all = [this._requests, this._ttft, this._money, this._total];
    this.element = h("div", { class: "charts" }, ...all.map((one) => one.element));
  }

  /** @param {Overview} overview */
  update({ series, totals }) {
    const { at_wall_s, bucket_s } = series;
    const perSecond = (/** @type {number[]} */ values) => values.map((value) => value / bucket_s);
    const hits = series.hits.reduce((sum, one) => sum + one, 0);
    this._requests.update({
      at_wall_s,
      bucket_s,
      values: {
        failed: perSecond(series.failed),
        asked: perSecond(
          series.calls.map((calls, index) => Math.max(0, calls - series.failed[index] - series.hits[index])),
        ),
        hits: perSecond(series.hits),
      },
      resting: {
        failed: count(totals.failed),
        asked: count(Math.max(0, totals.calls - totals.failed - hits)),
        hits: count(hits),
      },
    });
    this._money.update({
      at_wall_s,
      bucket_s,
      values: { spent: series.dollars, saved: series.saved_dollars },
      resting: { spent: dollars(totals.dollars), saved: dollars(totals.saved_dollars) },
    });
    for (const [chart, name] of /** @type {const} */ ([
      [this._ttft, "ttft"],
      [this._total, "total"],
    ])) {
      const whole = totals[name];
      chart.update({
        at_wall_s,
        bucket_s,
        values: { p50: series[`${name}_p50_s`], p95: series[`${name}_p95_s`], p99: series[`${name}_p99_s`] },
        resting: { p50: seconds(whole.p50_s), p95: seconds(whole.p95_s), p99: seconds(whole.p99_s) },
      });
    }
  }
}
