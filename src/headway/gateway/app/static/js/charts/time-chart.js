/**
 * A chart over time: lines, or bars on top of each other. Its legend is its read-out: it tells the values under the
 * pointer, or under the mark that the arrow keys move, and the window's own figures when nobody points.
 */

import { h, s, say, set } from "../core/dom.js";
import { bare, clock, moment } from "../core/format.js";
import { barsPath, dotsPath, linePath } from "./marks.js";
import { roundUp, timeMarks } from "./scale.js";

/** @typedef {import("./marks.js").Values} Values */
/** @typedef {{key: string, label: string, tone: string}} Line */
/** @typedef {{at_wall_s: number[], bucket_s: number, values: Record<string, Values>, resting: Record<string, string>}} ChartData */

const HEIGHT = 148;
const LEFT_MIN = 38;
const LETTER = 6.4;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;

export class TimeChart {
  /**
   * @param {{
   *   title: string, note?: string, kind: "lines" | "bars", lines: Line[], top: number,
   *   tell: (value: number) => string,
   * }} options `lines` from the bottom up; `top`: what the axis shows at least; `tell`: a value in words.
   */
  constructor(options) {
    this._options = options;
    /** @type {ChartData | null} */
    this._data = null;
    /** @type {number | null} */
    this._cursor = null;
    this._width = 0;
    this._left = LEFT_MIN;
    const { title, note, lines, kind } = options;
    /** @type {Record<string, HTMLElement>} */
    this._told = {};
    const legend = h("ul", { class: "legend" });
    for (const { key, label, tone } of lines.toReversed()) {
      this._told[key] = h("b", { class: "num" });
      legend.append(h("li", {}, h("i", { class: `swatch ${tone}`, "aria-hidden": "true" }), label, this._told[key]));
    }
    this._when = h("span", { class: "chart-when num" });
    this._grid = s("g", { class: "grid" });
    this._paths = lines.map(({ tone }) => s("path", { class: `${kind === "bars" ? "bar" : "line"} ${tone}` }));
    this._dots = lines.map(({ tone }) => s("path", { class: `line dots ${tone}` }));
    this._mark = s("path", { class: "mark" });
    this._svg = s(
      "svg",
      { height: HEIGHT, "aria-hidden": "true" },
      this._grid,
      ...this._paths,
      ...this._dots,
      this._mark,
    );
    this._plot = h(
      "div",
      {
        class: "plot",
        tabindex: 0,
        role: "slider",
        "aria-label": `${title}, over time`,
        "aria-valuemin": 0,
        "aria-valuenow": 0,
        "aria-valuemax": 0,
        "aria-valuetext": "",
        onpointermove: (/** @type {PointerEvent} */ event) => this._point(event),
        onpointerleave: () => this._move(null),
        onblur: () => this._move(null),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this._key(event),
      },
      this._svg,
    );
    this.element = h(
      "figure",
      { class: "card chart" },
      h("figcaption", { class: "card-head" }, h("h2", { title: note ?? false }, title), this._when, legend),
      this._plot,
    );
    new ResizeObserver(([entry]) => {
      this._width = Math.round(entry.contentRect.width);
      this._draw();
    }).observe(this._plot);
  }

  /** @param {ChartData} data */
  update(data) {
    this._data = data;
    if (this._cursor !== null && this._cursor >= data.at_wall_s.length) this._cursor = null;
    this._draw();
  }

  _draw() {
    const data = this._data;
    if (data === null || this._width <= 0) return;
    const count = data.at_wall_s.length;
    const stacks = this._stacks(data);
    const greatest = Math.max(this._options.top, ...stacks.map(({ to }) => greatestOf(to)));
    const top = roundUp(greatest);
    const marks = [0, 0.5, 1].map((share) => ({
      value: share * top,
      label: share ? bare(this._options.tell(share * top)) : "0",
    }));
    this._left = Math.max(LEFT_MIN, 14 + LETTER * Math.max(...marks.map(({ label }) => label.length)));
    const inner = this._width - this._left - RIGHT;
    const step = inner / Math.max(1, count);
    const x = (/** @type {number} */ index) => this._left + index * step;
    const y = (/** @type {number} */ value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    set(this._svg, "width", this._width);
    set(this._svg, "viewBox", `0 0 ${this._width} ${HEIGHT}`);
    this._drawGrid(data, marks, step, y);
    stacks.forEach(({ from, to }, index) => {
      if (from) {
        set(
          this._paths[index],
          "d",
          barsPath(from, /** @type {number[]} */ (to), x, y, Math.max(1, step - (step > 4 ? 1 : 0))),
        );
        return;
      }
      const middle = (/** @type {number} */ one) => x(one) + step / 2;
      set(this._paths[index], "d", linePath(to, middle, y));
      set(this._dots[index], "d", dotsPath(to, middle, y));
    });
    set(this._plot, "aria-valuemax", Math.max(0, count - 1));
    this._tell(x, step);
  }

  /** Lines as they are, bars on top of each other. @param {ChartData} data */
  _stacks(data) {
    const { kind, lines } = this._options;
    if (kind === "lines") return lines.map(({ key }) => ({ from: null, to: data.values[key] }));
    let from = data.at_wall_s.map(() => 0);
    return lines.map(({ key }) => {
      const to = from.map((height, index) => height + (data.values[key][index] ?? 0));
      const stack = { from, to };
      from = to;
      return stack;
    });
  }

  /** @param {ChartData} data @param {{value: number, label: string}[]} marks @param {number} step @param {(value: number) => number} y */
  _drawGrid(data, marks, step, y) {
    const nodes = [];
    for (const { value, label } of marks) {
      const height = Math.round(y(value)) + 0.5;
      nodes.push(s("path", { d: `M${this._left} ${height}H${this._width - RIGHT}` }));
      nodes.push(s("text", { x: this._left - 8, y: height + 3.5, "text-anchor": "end" }, label));
    }
    if (data.at_wall_s.length) {
      const from_s = data.at_wall_s[0];
      const to_s = data.at_wall_s[data.at_wall_s.length - 1] + data.bucket_s;
      for (const { at_s, label } of timeMarks(from_s, to_s, Math.max(2, this._width / 90))) {
        const place = this._left + ((at_s - from_s) / data.bucket_s) * step;
        if (place < this._left + 12 || place > this._width - 22) continue;
        nodes.push(s("text", { x: place, y: HEIGHT - 5, "text-anchor": "middle" }, label));
      }
    }
    this._grid.replaceChildren(...nodes);
  }

  /** The legend's figures, and the mark. @param {(index: number) => number} x @param {number} step */
  _tell(x, step) {
    const data = /** @type {ChartData} */ (this._data);
    const cursor = this._cursor;
    const parts = [];
    for (const { key, label } of this._options.lines) {
      const value = cursor === null ? null : data.values[key][cursor];
      const text = cursor === null ? (data.resting[key] ?? "") : value === null ? "–" : this._options.tell(value);
      say(this._told[key], text);
      parts.push(`${label} ${text}`);
    }
    const at_s = cursor === null ? null : data.at_wall_s[cursor];
    say(this._when, at_s === null ? "" : data.bucket_s >= 3600 ? moment(at_s) : clock(at_s));
    const place = cursor === null ? 0 : x(cursor) + step / 2;
    set(this._mark, "d", cursor === null ? "" : `M${place.toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}`);
    set(this._plot, "aria-valuenow", cursor ?? Math.max(0, data.at_wall_s.length - 1));
    set(this._plot, "aria-valuetext", `${at_s === null ? "Over the window" : clock(at_s)}: ${parts.join(", ")}`);
  }

  /** @param {PointerEvent} event */
  _point(event) {
    const count = this._data?.at_wall_s.length ?? 0;
    const inside = event.clientX - this._plot.getBoundingClientRect().left - this._left;
    const index = Math.floor((inside / Math.max(1, this._width - this._left - RIGHT)) * count);
    this._move(index >= 0 && index < count ? index : null);
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const last = (this._data?.at_wall_s.length ?? 0) - 1;
    if (last < 0) return;
    const from = this._cursor ?? last + 1;
    const far = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: from - far,
      ArrowDown: from - far,
      ArrowRight: from + far,
      ArrowUp: from + far,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this._move(Math.max(0, Math.min(last, to)));
  }

  /** @param {number | null} cursor */
  _move(cursor) {
    if (cursor === this._cursor) return;
    this._cursor = cursor;
    this._draw();
  }
}

/** @param {Values} values */
function greatestOf(values) {
  let greatest = 0;
  for (const value of values) if (value !== null && value > greatest) greatest = value;
  return greatest;
}
