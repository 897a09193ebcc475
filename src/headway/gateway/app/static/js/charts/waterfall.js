/** Where time went: a row a lane, bars on one axis. Rows can be reached by keyboard, and say their bars in words. */

import { h } from "../core/dom.js";
import { bare, seconds } from "../core/format.js";
import { roundUp } from "./scale.js";

/** @typedef {import("../core/types.js").Span} Span */

/** What kinds of time mean, and their colours (css/charts.css). */
const KINDS = /** @type {Record<string, [string, string]>} */ ({
  wait: ["waiting here", "k-wait"],
  connect: ["connecting", "k-connect"],
  network: ["network and the provider's queue", "k-network"],
  processing: ["processing", "k-processing"],
  generation: ["generation", "k-generation"],
  earlier: ["earlier tries", "k-earlier"],
  cache: ["from the cache", "k-cache"],
  ok: ["ran", "k-generation"],
  cached: ["kept from earlier", "k-cache"],
  default: ["its default", "k-connect"],
  skipped: ["skipped", "k-earlier"],
  stream: ["streaming", "k-generation"],
  run: ["ran", "k-generation"],
});

/** @param {string} kind @returns {[string, string]} */
const kindOf = (kind) =>
  KINDS[kind] ?? [kind, /fail|timeout|error|deadline|budget|cancel/.test(kind) ? "k-failed" : "k-generation"];

/**
 * @param {Span[]} spans
 * @param {{critical?: string[], total_s?: number | null}} [options] `critical`: lanes the end hung on.
 * @returns {HTMLElement}
 */
export function waterfall(spans, { critical = [], total_s = null } = {}) {
  const end_s = Math.max(total_s ?? 0, ...spans.map((one) => one.end_s), 1e-6);
  /** @type {Map<string, Span[]>} */
  const lanes = new Map();
  for (const one of spans) lanes.set(one.lane, [...(lanes.get(one.lane) ?? []), one]);
  const hung = new Set(critical);
  const rows = [...lanes].map(([lane, bars]) => row(lane, bars, end_s, hung.has(lane)));
  return h(
    "div",
    { class: `waterfall${critical.length ? " has-critical" : ""}` },
    axis(end_s),
    h("ol", { class: "lanes" }, ...rows),
    legend(spans, critical.length > 0),
  );
}

/** @param {string} lane @param {Span[]} bars @param {number} end_s @param {boolean} isCritical */
function row(lane, bars, end_s, isCritical) {
  const from_s = Math.min(...bars.map((one) => one.start_s));
  const to_s = Math.max(...bars.map((one) => one.end_s));
  const track = h("span", { class: "lane-track", "aria-hidden": "true" });
  for (const one of bars) track.append(bar(one, end_s));
  const words = bars.map(wordsOf).join("; ");
  return h(
    "li",
    { class: isCritical ? "lane critical" : "lane", tabindex: 0 },
    h(
      "span",
      { class: "lane-name", title: lane },
      lane,
      isCritical && h("span", { class: "unseen" }, " (on the critical path)"),
    ),
    track,
    h("span", { class: "lane-time num" }, seconds(to_s - from_s)),
    h("span", { class: "lane-words" }, words),
  );
}

/** @param {Span} one */
function wordsOf(one) {
  const note = one.note ? ` (${one.note})` : "";
  return `${kindOf(one.kind)[0]} ${seconds(one.end_s - one.start_s)}, from ${seconds(one.start_s)}${note}`;
}

/** @param {Span} one @param {number} end_s */
function bar(one, end_s) {
  const element = h("i", { class: `span ${kindOf(one.kind)[1]}`, title: wordsOf(one) });
  element.style.setProperty("inset-inline-start", `${((one.start_s / end_s) * 100).toFixed(2)}%`);
  element.style.setProperty("inline-size", `${(((one.end_s - one.start_s) / end_s) * 100).toFixed(2)}%`);
  return element;
}

/** @param {number} end_s */
function axis(end_s) {
  const step_s = roundUp(end_s / 4);
  const track = h("span", { class: "lane-track" });
  for (let at_s = 0; at_s <= end_s * 0.93; at_s += step_s) {
    const mark = h("span", { class: "lane-mark num" }, bare(seconds(at_s)));
    mark.style.setProperty("inset-inline-start", `${((at_s / end_s) * 100).toFixed(2)}%`);
    track.append(mark);
  }
  return h("div", { class: "lane lane-axis", "aria-hidden": "true" }, h("span"), track, h("span"));
}

/** @param {Span[]} spans @param {boolean} hasCritical */
function legend(spans, hasCritical) {
  /** @type {Map<string, string>} */
  const seen = new Map();
  for (const one of spans) {
    const [words, tone] = kindOf(one.kind);
    seen.set(words, tone);
  }
  const items = [...seen].map(([words, tone]) =>
    h("li", {}, h("i", { class: `swatch ${tone}`, "aria-hidden": "true" }), words),
  );
  if (hasCritical)
    items.push(h("li", {}, h("i", { class: "swatch critical-key", "aria-hidden": "true" }), "critical path"));
  return h("ul", { class: "legend" }, ...items);
}
