/**
 * A table whose rows stay the same elements while their figures change: focus, selection and scroll survive an update,
 * and only cells that say something else are touched.
 */

import { h, say, set } from "../core/dom.js";

/**
 * @template R
 * @typedef {{
 *   label: string, value: (row: R) => string | number, title?: string, numeric?: boolean, level?: 1 | 2 | 3 | 4 | 5 | 6,
 *   draw?: (cell: HTMLElement, row: R) => void,
 * }} Column
 * `value` tells whether a cell has changed, and is its text unless `draw` fills it. `level`: 1 is always shown, 2 not
 * on a phone, 3 to 6 the wider the table is.
 */

/** @template R */
export class Table {
  /**
   * @param {{
   *   label: string, columns: Column<R>[], key: (row: R) => string, empty: string,
   *   mark?: (row: R) => string,
   * }} options `mark`: a row's class.
   */
  constructor({ label, columns, key, empty, mark }) {
    this._columns = columns;
    this._key = key;
    this._mark = mark;
    /** @type {Map<string, {element: HTMLTableRowElement, said: (string | number)[]}>} */
    this._rows = new Map();
    this._body = h("tbody");
    const heads = columns.map((one) =>
      h("th", { scope: "col", class: classOf(one), title: one.title ?? false }, one.label),
    );
    const table = h(
      "table",
      {},
      h("caption", { class: "unseen" }, label),
      h("thead", {}, h("tr", {}, ...heads)),
      this._body,
    );
    this._empty = h("p", { class: "none" }, empty);
    this._table = h("div", { class: "scroller", role: "group", "aria-label": label }, table);
    // What is wider than its place can be moved by keyboard; what is not, is no stop on the way.
    const room = new ResizeObserver(() =>
      set(this._table, "tabindex", this._table.scrollWidth > this._table.clientWidth ? 0 : false),
    );
    room.observe(this._table);
    room.observe(table);
    this.element = h("div", { class: "tabled", onkeydown: walk, onclick: open }, this._table, this._empty);
    this.update([]);
  }

  /** @param {R[]} rows In their order. */
  update(rows) {
    const stay = new Set();
    let place = this._body.firstElementChild;
    for (const row of rows) {
      const key = this._key(row);
      stay.add(key);
      const element = this._row(key, row);
      if (place !== element) this._body.insertBefore(element, place);
      place = element.nextElementSibling;
    }
    for (const [key, { element }] of this._rows) {
      if (stay.has(key) || element.contains(document.activeElement)) continue;
      element.remove();
      this._rows.delete(key);
    }
    this._table.hidden = this._rows.size === 0;
    this._empty.hidden = this._rows.size > 0;
  }

  /** What is said where there are no rows. @param {string} text */
  sayEmpty(text) {
    say(this._empty, text);
  }

  /** @param {string} key @param {R} row */
  _row(key, row) {
    let kept = this._rows.get(key);
    if (kept === undefined) {
      const element = h("tr", {}, ...this._columns.map((one) => h("td", { class: classOf(one) })));
      kept = { element, said: [] };
      this._rows.set(key, kept);
    }
    const { element, said } = kept;
    const mark = this._mark?.(row) ?? "";
    if (element.className !== mark) element.className = mark;
    this._columns.forEach((column, index) => {
      const value = column.value(row);
      if (said[index] === value) return;
      said[index] = value;
      const cell = /** @type {HTMLElement} */ (element.children[index]);
      if (column.draw) column.draw(cell, row);
      else say(cell, value);
    });
    return element;
  }
}

/** @param {Column<any>} column */
const classOf = ({ numeric, level = 1 }) =>
  [numeric ? "num" : "", level > 1 ? `level-${level}` : ""].join(" ").trim() || false;

/** Arrow keys, j and k go from row to row. @param {KeyboardEvent} event */
function walk(event) {
  const step = /** @type {Record<string, number>} */ ({ ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 })[event.key];
  const from = event.target instanceof HTMLElement ? event.target : null;
  if (step === undefined || from === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const links = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("tbody tr td:first-child a")];
  const at = links.findIndex((one) => one.closest("tr") === from.closest("tr"));
  const to = links[at + step] ?? (at < 0 ? links[0] : null);
  if (!(to instanceof HTMLElement)) return;
  event.preventDefault();
  to.focus();
}

/** A click anywhere in a row follows its first link, unless text is being selected. @param {MouseEvent} event */
function open(event) {
  const target = event.target instanceof Element ? event.target : null;
  if (target === null || target.closest("a, button, input, select") || getSelection()?.toString()) return;
  const first = target.closest("tbody tr")?.querySelector("td:first-child a");
  if (first instanceof HTMLElement) first.click();
}
