/** The last calls: live ones come on top, older ones are fetched; all of them or the failed ones only. */

import { ApiError, ask, queryOf } from "../core/api.js";
import { age } from "../core/ages.js";
import { h, say, set } from "../core/dom.js";
import { count, dollars, host, seconds, short } from "../core/format.js";
import { keyName } from "../core/keys.js";
import { link } from "../core/place.js";
import { endBadge, endOf, isFailed } from "./badge.js";
import { Table } from "./table.js";

/** @typedef {import("../core/types.js").CallLine} CallLine */
/** @typedef {import("../core/types.js").Filters} Filters */
/** @typedef {import("../core/types.js").Overview} Overview */
/** @typedef {import("./table.js").Column<CallLine>} Column */

const KEPT_MAX = 1000;
/** What is said of a cache that has not answered. */
const ASKED = new Set(["", "off", "miss", "refresh"]);

/** A call's time as a bar: what waited here, what came before the first token, the rest. @param {HTMLElement} cell @param {CallLine} call */
function drawTimes(cell, call) {
  const total_s = call.total_s ?? 0;
  const bar = h("span", { class: "times", "aria-hidden": "true" });
  const wasKept = call.attempts === 0;
  const until_s = Math.max(call.wait_s, call.ttft_s ?? total_s);
  for (const [tone, from_s, to_s] of /** @type {const} */ ([
    ["k-wait", 0, Math.min(call.wait_s, total_s)],
    [wasKept ? "k-cache" : "k-processing", call.wait_s, Math.min(until_s, total_s)],
    [wasKept ? "k-cache" : "k-generation", until_s, total_s],
  ])) {
    if (to_s <= from_s || total_s <= 0) continue;
    const part = h("i", { class: tone });
    part.style.setProperty("inline-size", `${(((to_s - from_s) / total_s) * 100).toFixed(1)}%`);
    bar.append(part);
  }
  cell.replaceChildren(bar);
}

/** @type {Column[]} */
const COLUMNS = [
  {
    label: "When",
    value: (call) => call.id,
    draw: (cell, call) => {
      cell.replaceChildren(h("a", { href: link("calls", call.id) }, age(call.start_wall_s)));
    },
  },
  { label: "Result", value: endOf, draw: (cell, call) => drawEnd(cell, call) },
  {
    label: "Model",
    value: (call) => call.model || "–",
    draw: (cell, call) => clip(cell, call.model || "–", call.model),
  },
  {
    label: "Route",
    value: (call) => call.route,
    level: 5,
    draw: (cell, call) => clip(cell, call.route.replace(/^\/v1/, "") || "–", call.route),
  },
  {
    label: "Key",
    value: (call) => keyName(call.key, call.key_name),
    level: 5,
    draw: (cell, call) => clip(cell, keyName(call.key, call.key_name), call.key),
  },
  {
    label: "Answer from",
    value: fromOf,
    level: 3,
    title: "The upstream; or who kept or shared the answer",
    draw: (cell, call) => clip(cell, fromOf(call), call.upstream),
  },
  { label: "Tries", value: (call) => count(call.attempts), numeric: true, level: 6 },
  {
    label: "Time",
    value: (call) => `${call.wait_s} ${call.ttft_s} ${call.total_s}`,
    draw: drawTimes,
    level: 3,
    title: "Waiting here, until the first token, and the rest",
  },
  { label: "TTFT", value: (call) => seconds(call.ttft_s), numeric: true, level: 3, title: "Until the first token" },
  { label: "Total", value: (call) => seconds(call.total_s), numeric: true },
  { label: "Tokens", value: tokensOf, numeric: true, level: 4, title: "Input → output" },
  { label: "Cost", value: (call) => dollars(call.dollars), numeric: true, level: 2 },
];

/** @param {HTMLElement} cell @param {CallLine} call */
function drawEnd(cell, call) {
  cell.replaceChildren(endBadge(call));
  cell.title = [endOf(call), call.error_code].filter(Boolean).join(", ");
}

/** A text that gives way, and is told whole to who points at it. @param {HTMLElement} cell @param {string} text @param {string} whole */
function clip(cell, text, whole) {
  cell.replaceChildren(h("span", { class: "clip", title: whole || false }, text));
}

/** @param {CallLine} call */
function fromOf(call) {
  const { attempts, cache, upstream } = call;
  if (isFailed(call) && attempts === 0) return "–";
  return ASKED.has(cache) ? host(upstream) || "–" : cache;
}

/** @param {CallLine} call */
function tokensOf({ input_tokens, output_tokens }) {
  return input_tokens === null && output_tokens === null ? "–" : `${short(input_tokens)} → ${short(output_tokens)}`;
}

export class CallList {
  /**
   * @param {{limit: number, paged: boolean, failedOnly: (wanted: boolean) => void}} options `paged`: older ones can be
   *   fetched. `failedOnly`: somebody wants the failed ones only, or all.
   */
  constructor({ limit, paged, failedOnly }) {
    this._limit = limit;
    this._paged = paged;
    this._failed = false;
    /** @type {Map<string, CallLine>} */
    this._calls = new Map();
    /** @type {Filters | null} */
    this._filters = null;
    /** @type {AbortController} */
    this._asking = new AbortController();
    this._table = new Table({
      label: "Calls",
      columns: COLUMNS,
      key: (call) => call.id,
      empty: "",
      mark: (call) => (isFailed(call) ? "failed" : ""),
    });
    this._box = h("input", { type: "checkbox", onchange: () => failedOnly(this._box.checked) });
    this.failedOnly = h("label", { class: "check" }, this._box, "Failed only");
    this._trouble = h("p", { class: "trouble", role: "alert", hidden: true });
    this._more = h("button", { type: "button", onclick: () => this._fetch(true) }, "Show older calls");
    this.element = h(
      "div",
      { class: "calls" },
      this._table.element,
      this._trouble,
      paged ? h("div", { class: "more" }, this._more) : null,
    );
  }

  toggleFailed() {
    this._box.click();
  }

  /** What the address says. @param {boolean} only */
  showFailed(only) {
    if (this._failed === only) return;
    this._failed = this._box.checked = only;
    this._reset();
  }

  /** @param {Overview} overview */
  update(overview) {
    const isNew = this._filters === null || queryOf(this._filters) !== queryOf(overview.filters);
    this._filters = overview.filters;
    if (isNew) this._calls.clear();
    this._take(overview.calls);
    this._show();
    if (isNew && (this._paged || this._failed)) this._fetch(false);
  }

  /** @param {CallLine[]} calls */
  _take(calls) {
    for (const call of calls) if (!this._failed || isFailed(call)) this._calls.set(call.id, call);
  }

  _sorted() {
    const all = [...this._calls.values()].sort((a, b) => b.start_wall_s - a.start_wall_s);
    return all.slice(0, this._paged ? KEPT_MAX : this._limit);
  }

  _show() {
    const calls = this._sorted();
    this._calls = new Map(calls.map((call) => [call.id, call]));
    this._table.sayEmpty(this._failed ? "No call failed." : "No calls in this window.");
    this._table.update(calls);
    set(this._more, "hidden", calls.length === 0);
  }

  _reset() {
    this._calls.clear();
    this._show();
    this._fetch(false);
  }

  /** @param {boolean} older Those before the last one that is shown, instead of the latest. */
  async _fetch(older) {
    if (this._filters === null) return;
    this._asking.abort();
    const asking = (this._asking = new AbortController());
    const last = older ? this._sorted().at(-1)?.id : undefined;
    const query = `${queryOf(this._filters)}&limit=${this._limit}${this._failed ? "&outcome=failed" : ""}${last ? `&before=${encodeURIComponent(last)}` : ""}`;
    try {
      const { calls, more } = await ask(`/calls?${query}`, { signal: asking.signal });
      this._take(calls);
      this._trouble.hidden = true;
      this._show();
      this._more.disabled = !more;
      say(this._more, this._more.disabled ? "That is all" : "Show older calls");
    } catch (error) {
      if (asking.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      say(this._trouble, error.message);
      this._trouble.hidden = false;
    }
  }
}
